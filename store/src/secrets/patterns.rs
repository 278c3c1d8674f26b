//! Tokens, private keys and signed URLs, recognised by their format.
//!
//! One Aho-Corasick pass over a file finds every [`SecretPattern::prefix`]; the [`BoundaryCheck`] then looks at
//! the bytes around each hit. Prefixes have at least four characters: with shorter ones that pass
//! takes twice the time.

use std::ops::{Range, RangeInclusive};
use std::sync::OnceLock;

use regex::bytes::Regex;

use super::secret_kind::SecretKind;
use super::text_encoding::{is_alnum, is_base64, is_hex, is_random, is_word, leading_run};

/// Bytes before a hit that a [`BoundaryCheck::Around`] can see: an AWS secret may precede its identifier,
/// and the rest of a signed URL its signature.
const BEFORE: usize = 1024;
/// Bytes behind a hit that a [`BoundaryCheck::Around`] can see: the first line of a key follows its header
/// after at most a few attributes.
const BEHIND: usize = 2048;

/// How the surroundings of a prefix are checked.
enum BoundaryCheck {
    /// A number of characters of a class follow, and the prefix does not start within a word.
    Body(fn(u8) -> bool, RangeInclusive<usize>),
    /// `here` matches a stretch that covers the prefix, and `near` something close to it. The
    /// first group of `here` must look random; one of `near` must have letters of both cases.
    Around {
        here: &'static str,
        near: &'static str,
    },
}

/// A format of secret.
pub(super) struct SecretPattern {
    pub(super) prefix: &'static str,
    pub(super) kind: SecretKind,
    check: BoundaryCheck,
    /// The expressions of [`BoundaryCheck::Around`], compiled at the first match of the prefix:
    /// compiling all of them up front would cost each save some milliseconds.
    compiled: OnceLock<Option<[Regex; 2]>>,
}

impl SecretPattern {
    /// Whether a secret of this format lies where the prefix was found.
    pub(super) fn is_at(&self, content: &[u8], at: Range<usize>) -> bool {
        match &self.check {
            BoundaryCheck::Body(class, length) => {
                let body = leading_run(&content[at.end..], *class, length.end() + 1);
                let within_word = at.start > 0 && is_alnum(content[at.start - 1]);
                length.contains(&body.len()) && !within_word && is_random(body)
            }
            BoundaryCheck::Around { here, near } => {
                let compiled = self.compiled.get_or_init(|| {
                    let compile = |text: &str| Regex::new(&format!("(?-u){text}"));
                    Some([compile(here).ok()?, compile(near).ok()?])
                });
                let Some([here, near]) = compiled else {
                    return false;
                };
                let start = at.start.saturating_sub(BEFORE);
                let window = &content[start..content.len().min(at.end + BEHIND)];
                let hit = at.start - start;
                here.captures_iter(window).any(|found| {
                    let covers = found.get(0).is_some_and(|all| all.range().contains(&hit));
                    covers && found.get(1).is_some_and(|body| is_random(body.as_bytes()))
                }) && near.captures_iter(window).any(|found| {
                    found
                        .get(1)
                        .is_none_or(|body| has_both_cases(body.as_bytes()))
                })
            }
        }
    }
}

const AWS: SecretKind = SecretKind::new("aws-key", "AWS access key with its secret");
const PRIVATE_KEY: SecretKind = SecretKind::new("private-key", "private key");
const GITHUB: SecretKind = SecretKind::new("github-token", "GitHub token");
const GITLAB: SecretKind = SecretKind::new("gitlab-token", "GitLab token");
const NPM: SecretKind = SecretKind::new("npm-token", "npm token");
const SLACK: SecretKind = SecretKind::new("slack-token", "Slack token");
const GOOGLE_API: SecretKind = SecretKind::new("google-api-key", "Google API key");
const GOOGLE_OAUTH: SecretKind = SecretKind::new("google-token", "Google access token");
const PYPI: SecretKind = SecretKind::new("pypi-token", "PyPI token");
const STRIPE: SecretKind = SecretKind::new("stripe-key", "Stripe live key");
const VAULT: SecretKind = SecretKind::new("vault-token", "HashiCorp Vault token");
const DOCKER: SecretKind = SecretKind::new("docker-token", "Docker Hub token");
const ANTHROPIC: SecretKind = SecretKind::new("anthropic-key", "Anthropic API key");
const OPENAI: SecretKind = SecretKind::new("openai-key", "OpenAI API key");
const DIGITALOCEAN: SecretKind = SecretKind::new("digitalocean-token", "DigitalOcean token");
const SHOPIFY: SecretKind = SecretKind::new("shopify-token", "Shopify token");
const RUBYGEMS: SecretKind = SecretKind::new("rubygems-key", "RubyGems API key");
const AZURE_KEY: SecretKind = SecretKind::new("azure-storage-key", "Azure storage account key");
const SIGNED_URL: SecretKind = SecretKind::new("signed-url", "signed URL");

const fn prefix_pattern(
    prefix: &'static str,
    kind: SecretKind,
    check: BoundaryCheck,
) -> SecretPattern {
    SecretPattern {
        prefix,
        kind,
        check,
        compiled: OnceLock::new(),
    }
}

const fn body_pattern(
    prefix: &'static str,
    kind: SecretKind,
    class: fn(u8) -> bool,
    length: RangeInclusive<usize>,
) -> SecretPattern {
    prefix_pattern(prefix, kind, BoundaryCheck::Body(class, length))
}

const fn keyword_pattern(
    prefix: &'static str,
    kind: SecretKind,
    here: &'static str,
    near: &'static str,
) -> SecretPattern {
    prefix_pattern(prefix, kind, BoundaryCheck::Around { here, near })
}

fn has_both_cases(text: &[u8]) -> bool {
    text.iter().any(u8::is_ascii_uppercase) && text.iter().any(u8::is_ascii_lowercase)
}

fn is_padded_base64(byte: u8) -> bool {
    is_base64(byte) || byte == b'='
}

/// An AWS identifier alone opens nothing, so the 40 characters of its secret must be close. They
/// have both cases, which hashes of that length do not.
const AWS_ID: &str = r"\bA[KS]IA([A-Z2-7]{16})\b";
const AWS_SECRET: &str = r"(?:^|[^0-9A-Za-z+/])([0-9A-Za-z+/]{40})(?:$|[^0-9A-Za-z+/=])";

/// Programs contain the header as a constant, and documents with dots behind it; only where a
/// line of base64 follows there is a key. It may be in a string, with `\n` for line ends.
const PEM: &str =
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-[^-]){0,400}?([0-9A-Za-z+/]{40,})";
const PUTTY: &str =
    r"PuTTY-User-Key-File-[0-9](?s:.){0,1500}?Private-Lines: [0-9]+\s+([0-9A-Za-z+/]{24,})";

/// All formats that are searched for.
pub(super) static PATTERNS: [SecretPattern; 42] = [
    keyword_pattern("PRIVATE KEY", PRIVATE_KEY, PEM, ""),
    keyword_pattern("PuTTY-User-Key-File-", PRIVATE_KEY, PUTTY, ""),
    keyword_pattern(
        "AGE-SECRET-KEY-1",
        PRIVATE_KEY,
        r"\bAGE-SECRET-KEY-1([0-9A-Z]{58})\b",
        "",
    ),
    keyword_pattern("AKIA", AWS, AWS_ID, AWS_SECRET),
    keyword_pattern("ASIA", AWS, AWS_ID, AWS_SECRET),
    body_pattern("ghp_", GITHUB, is_alnum, 36..=36),
    body_pattern("gho_", GITHUB, is_alnum, 36..=36),
    body_pattern("ghu_", GITHUB, is_alnum, 36..=36),
    body_pattern("ghs_", GITHUB, is_alnum, 36..=36),
    body_pattern("ghr_", GITHUB, is_alnum, 36..=76),
    body_pattern("github_pat_", GITHUB, is_word, 82..=82),
    body_pattern("glpat-", GITLAB, is_word, 20..=64),
    body_pattern("gldt-", GITLAB, is_word, 20..=64),
    body_pattern("glrt-", GITLAB, is_word, 20..=64),
    body_pattern("glcbt-", GITLAB, is_word, 20..=64),
    body_pattern("glptt-", GITLAB, is_hex, 40..=40),
    body_pattern("npm_", NPM, is_alnum, 36..=36),
    body_pattern("xoxb-", SLACK, is_word, 24..=120),
    body_pattern("xoxp-", SLACK, is_word, 24..=120),
    body_pattern("xoxa-", SLACK, is_word, 24..=120),
    body_pattern("xoxr-", SLACK, is_word, 24..=120),
    body_pattern("xoxs-", SLACK, is_word, 24..=120),
    body_pattern("xapp-", SLACK, is_word, 40..=140),
    keyword_pattern(
        "hooks.slack.com/services/",
        SLACK,
        r"hooks\.slack\.com/services/T\w+/B\w+/(\w{20,})",
        "",
    ),
    body_pattern("AIza", GOOGLE_API, is_word, 35..=35),
    body_pattern("ya29.", GOOGLE_OAUTH, is_word, 40..=2048),
    body_pattern("pypi-AgE", PYPI, is_word, 50..=1024),
    body_pattern("sk_live_", STRIPE, is_alnum, 20..=128),
    body_pattern("rk_live_", STRIPE, is_alnum, 20..=128),
    body_pattern("hvs.", VAULT, is_word, 24..=512),
    body_pattern("hvb.", VAULT, is_word, 100..=512),
    body_pattern("dckr_pat_", DOCKER, is_word, 20..=64),
    body_pattern("dckr_oat_", DOCKER, is_word, 20..=64),
    body_pattern("sk-ant-", ANTHROPIC, is_word, 60..=200),
    keyword_pattern(
        "T3BlbkFJ",
        OPENAI,
        r"\bsk-[\w-]{20,100}T3BlbkFJ([\w-]{20,100})",
        "",
    ),
    body_pattern("dop_v1_", DIGITALOCEAN, is_hex, 64..=64),
    body_pattern("shpat_", SHOPIFY, is_hex, 32..=32),
    body_pattern("rubygems_", RUBYGEMS, is_hex, 48..=48),
    body_pattern("AccountKey=", AZURE_KEY, is_padded_base64, 88..=88),
    keyword_pattern(
        "sig=",
        SIGNED_URL,
        r"\bsig=([0-9A-Za-z%+/]{43,})(?:%3D|=)",
        r"[?&]se=[^\s]*|[?&]sv=[^\s]*",
    ),
    keyword_pattern(
        "X-Amz-Signature=",
        SIGNED_URL,
        r"X-Amz-Signature=([0-9a-f]{64})",
        "X-Amz-Credential=",
    ),
    keyword_pattern(
        "X-Goog-Signature=",
        SIGNED_URL,
        r"X-Goog-Signature=([0-9a-f]{64,})",
        "X-Goog-Credential=",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds that are found in a text.
    fn found(text: &str) -> Option<&'static str> {
        PATTERNS.iter().find_map(|pattern| {
            let mut at = text.match_indices(pattern.prefix);
            at.any(|(at, prefix)| pattern.is_at(text.as_bytes(), at..at + prefix.len()))
                .then_some(pattern.kind.id)
        })
    }

    const RANDOM: &str =
        "Zk3vQ9sLx81mN2pR7tWbYc5dFgHj4K6aEuXq0oIzSwTvUyBnMlPkJhGfDsA1q2w3e4r5t6y7u8i9o0pLzXcVbNm";
    const LINE: &str = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";

    #[test]
    fn tokens_have_a_fixed_length() {
        for (prefix, length, id) in [
            ("ghp_", 36, "github-token"),
            ("github_pat_", 82, "github-token"),
            ("glpat-", 20, "gitlab-token"),
            ("npm_", 36, "npm-token"),
            ("AIza", 35, "google-api-key"),
            ("dckr_pat_", 27, "docker-token"),
            ("hvs.", 24, "vault-token"),
            ("sk_live_", 24, "stripe-key"),
            ("xoxb-", 50, "slack-token"),
        ] {
            let token = format!("{prefix}{}", &RANDOM[..length]);
            assert_eq!(found(&format!("token: \"{token}\"")), Some(id), "{prefix}");
            assert_eq!(found(&format!("a{token}")), None, "{prefix} within a word");
        }
        assert_eq!(found(&format!("ghp_{}", &RANDOM[..37])), None);
        assert_eq!(found("npm_config_registry npm_package_json_and_more"), None);
        assert_eq!(found("sk_live_this_is_no_key_at_all"), None);
        assert_eq!(found(&format!("ghp_{}", "x".repeat(36))), None);
    }

    #[test]
    fn prefixes_have_at_least_four_characters() {
        assert!(PATTERNS.iter().all(|pattern| pattern.prefix.len() >= 4));
    }

    #[test]
    fn every_expression_compiles() {
        for pattern in &PATTERNS {
            if let BoundaryCheck::Around { here, near } = pattern.check {
                Regex::new(&format!("(?-u){here}")).unwrap();
                Regex::new(&format!("(?-u){near}")).unwrap();
            }
        }
    }

    #[test]
    fn private_keys_in_files_and_strings() {
        let key = format!("{}{}", "PRIVATE", " KEY");
        let block = |name: &str, separator: &str, body: &str| {
            format!("-----BEGIN {name}-----{separator}{body}{separator}-----END {name}-----")
        };
        for name in [
            key.clone(),
            format!("RSA {key}"),
            format!("OPENSSH {key}"),
            format!("ENCRYPTED {key}"),
            format!("PGP {key} BLOCK"),
        ] {
            for separator in ["\n", "\r\n", "\\n"] {
                assert_eq!(found(&block(&name, separator, LINE)), Some("private-key"));
            }
        }
        let headers = format!("Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n{LINE}");
        assert_eq!(
            found(&block(&format!("EC {key}"), "\n", &headers)),
            Some("private-key")
        );
        for harmless in [
            block(&key, "\n", "..."),
            block(&key, "\n", &"A".repeat(64)),
            block("PUBLIC KEY", "\n", LINE),
            "the PRIVATE KEY of a user".to_owned(),
        ] {
            assert_eq!(found(&harmless), None, "{harmless}");
        }
        let putty = format!("PuTTY-User-Key-File-2: ssh-rsa\r\nPrivate-Lines: 1\r\n{LINE}\r\n");
        assert_eq!(found(&putty), Some("private-key"));
    }

    #[test]
    fn an_aws_identifier_needs_its_secret() {
        const SECRET: &str = "q8Zr1TnVb0Yw/3KcXs7LmPdEuGhJ2o5Ai9fR+BtW";
        let id = format!("AKIA{}", "Q3EGSDVKTR7WNZ2P");
        assert_eq!(
            found(&format!("id = {id}\nkey = {SECRET}\n")),
            Some("aws-key")
        );
        assert_eq!(found(&format!("id = {id}\n")), None);
        assert_eq!(
            found(&format!("id = {id}\nsha = {}\n", "0a1b2c3d4e".repeat(4))),
            None
        );
        assert_eq!(
            found(&format!("id = AKIAIOSFODNN7EXAMPLE\nkey = {SECRET}")),
            None
        );
        assert_eq!(found(&format!("x{id} {SECRET}")), None);
    }

    #[test]
    fn signatures_in_urls() {
        let signature = "3c8f1be07a5d42961d0e4b7a98c6f5231f0e9d8c7b6a59483726150fedcba987";
        let url = format!("https://b.test/k?X-Amz-Credential=A&X-Amz-Signature={signature}");
        assert_eq!(found(&url), Some("signed-url"));
        assert_eq!(found(&url.replace("Credential", "x")), None);
        let value = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6kL9nP2r";
        let sas = format!("https://a.test/c?sv=2022&se=2030&sig={value}%3D");
        assert_eq!(found(&sas), Some("signed-url"));
        assert_eq!(found("?sig=verify(a, b)&sv=1&se=2"), None);
    }
}
