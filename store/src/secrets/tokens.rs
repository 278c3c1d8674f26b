//! Secrets that tell by their form, each with a prefix of at least four characters: with shorter
//! ones the search for all of them takes twice the time.

use std::ops::{Range, RangeInclusive};

use super::kind::Kind;
use super::text::{is_alnum, is_hex, is_random, is_word, run};
use super::{jwt, pem, signed};

/// How a place where a prefix was found is checked.
pub(super) enum Check {
    /// A body of so many characters of a class, that does not begin within a word.
    Body(fn(u8) -> bool, RangeInclusive<usize>),
    /// Something that needs a look at what is around.
    Look(fn(&[u8], Range<usize>) -> bool),
}

/// A form of secret.
pub(super) struct Form {
    pub(super) prefix: &'static str,
    pub(super) kind: Kind,
    check: Check,
}

impl Form {
    /// Whether there is such a secret where the prefix was found.
    pub(super) fn is_at(&self, content: &[u8], at: Range<usize>) -> bool {
        match &self.check {
            Check::Look(look) => look(content, at),
            Check::Body(class, length) => {
                let body = run(&content[at.end..], *class, length.end() + 1);
                length.contains(&body.len())
                    && !signed::preceded_by(content, at.start, is_alnum)
                    && is_random(body)
            }
        }
    }
}

const AWS: Kind = Kind::new("aws-key", "access key of AWS with its secret");
const GITHUB: Kind = Kind::new("github-token", "token of GitHub");
const GITLAB: Kind = Kind::new("gitlab-token", "token of GitLab");
const NPM: Kind = Kind::new("npm-token", "token of npm");
const SLACK: Kind = Kind::new("slack-token", "token of Slack");
const GOOGLE_API: Kind = Kind::new("google-api-key", "API key of Google");
const GOOGLE_OAUTH: Kind = Kind::new("google-token", "access token of Google");
const PYPI: Kind = Kind::new("pypi-token", "token of PyPI");
const STRIPE: Kind = Kind::new("stripe-key", "live key of Stripe");
const VAULT: Kind = Kind::new("vault-token", "token of HashiCorp Vault");
const DOCKER: Kind = Kind::new("docker-token", "token of Docker Hub");
const ANTHROPIC: Kind = Kind::new("anthropic-key", "API key of Anthropic");
const OPENAI: Kind = Kind::new("openai-key", "API key of OpenAI");
const DIGITALOCEAN: Kind = Kind::new("digitalocean-token", "token of DigitalOcean");
const SHOPIFY: Kind = Kind::new("shopify-token", "token of Shopify");
const RUBYGEMS: Kind = Kind::new("rubygems-key", "API key of RubyGems");
const AZURE_KEY: Kind = Kind::new("azure-storage-key", "key of an Azure storage account");
const SIGNED_URL: Kind = Kind::new("signed-url", "URL with a signature");
const JWT: Kind = Kind::new("jwt", "JSON web token that is still valid");

const fn body(
    prefix: &'static str,
    kind: Kind,
    class: fn(u8) -> bool,
    length: RangeInclusive<usize>,
) -> Form {
    Form {
        prefix,
        kind,
        check: Check::Body(class, length),
    }
}

const fn look(prefix: &'static str, kind: Kind, look: fn(&[u8], Range<usize>) -> bool) -> Form {
    Form {
        prefix,
        kind,
        check: Check::Look(look),
    }
}

fn is_key_and_padding(byte: u8) -> bool {
    super::text::is_base64(byte) || byte == b'='
}

/// Every form there is.
pub(super) static FORMS: &[Form] = &[
    look("PRIVATE KEY", Kind::PRIVATE_KEY, pem::is_key),
    look("PuTTY-User-Key-File-", Kind::PRIVATE_KEY, pem::is_putty_key),
    look("AGE-SECRET-KEY-1", Kind::PRIVATE_KEY, pem::is_age_key),
    look("AKIA", AWS, signed::is_aws_pair),
    look("ASIA", AWS, signed::is_aws_pair),
    body("ghp_", GITHUB, is_alnum, 36..=36),
    body("gho_", GITHUB, is_alnum, 36..=36),
    body("ghu_", GITHUB, is_alnum, 36..=36),
    body("ghs_", GITHUB, is_alnum, 36..=36),
    body("ghr_", GITHUB, is_alnum, 36..=76),
    body("github_pat_", GITHUB, is_word, 82..=82),
    body("glpat-", GITLAB, is_word, 20..=64),
    body("gldt-", GITLAB, is_word, 20..=64),
    body("glrt-", GITLAB, is_word, 20..=64),
    body("glcbt-", GITLAB, is_word, 20..=64),
    body("glptt-", GITLAB, is_hex, 40..=40),
    body("npm_", NPM, is_alnum, 36..=36),
    body("xoxb-", SLACK, is_word, 24..=120),
    body("xoxp-", SLACK, is_word, 24..=120),
    body("xoxa-", SLACK, is_word, 24..=120),
    body("xoxr-", SLACK, is_word, 24..=120),
    body("xoxs-", SLACK, is_word, 24..=120),
    body("xapp-", SLACK, is_word, 40..=140),
    look("hooks.slack.com/services/", SLACK, signed::is_slack_webhook),
    body("AIza", GOOGLE_API, is_word, 35..=35),
    body("ya29.", GOOGLE_OAUTH, is_word, 40..=2048),
    body("pypi-AgE", PYPI, is_word, 50..=1024),
    body("sk_live_", STRIPE, is_alnum, 20..=128),
    body("rk_live_", STRIPE, is_alnum, 20..=128),
    body("hvs.", VAULT, is_word, 24..=512),
    body("hvb.", VAULT, is_word, 100..=512),
    body("dckr_pat_", DOCKER, is_word, 20..=64),
    body("dckr_oat_", DOCKER, is_word, 20..=64),
    body("sk-ant-", ANTHROPIC, is_word, 60..=200),
    look("T3BlbkFJ", OPENAI, signed::is_openai_key),
    body("dop_v1_", DIGITALOCEAN, is_hex, 64..=64),
    body("shpat_", SHOPIFY, is_hex, 32..=32),
    body("rubygems_", RUBYGEMS, is_hex, 48..=48),
    body("AccountKey=", AZURE_KEY, is_key_and_padding, 88..=88),
    look("sig=", SIGNED_URL, signed::is_azure_sas),
    look("X-Amz-Signature=", SIGNED_URL, signed::is_amz_signature),
    look("X-Goog-Signature=", SIGNED_URL, signed::is_goog_signature),
    look("eyJhbGci", JWT, jwt::is_live),
    look("eyJ0eXAi", JWT, jwt::is_live),
    look("eyJraWQi", JWT, jwt::is_live),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<&'static str> {
        FORMS.iter().find_map(|form| {
            let mut at = text.match_indices(form.prefix);
            at.any(|(at, prefix)| form.is_at(text.as_bytes(), at..at + prefix.len()))
                .then_some(form.kind.id)
        })
    }

    const RANDOM: &str =
        "Zk3vQ9sLx81mN2pR7tWbYc5dFgHj4K6aEuXq0oIzSwTvUyBnMlPkJhGfDsA1q2w3e4r5t6y7u8i9o0pLzXcVbNm";

    #[test]
    fn tokens_of_the_length_they_have() {
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
    fn prefixes_are_long_enough_to_be_searched_fast() {
        assert!(FORMS.iter().all(|form| form.prefix.len() >= 4));
    }
}
