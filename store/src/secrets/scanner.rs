//! Everything that is searched for, put together.

use std::fmt;
use std::path::Path;

use aho_corasick::{AhoCorasick, MatchKind};

use super::allow::AllowedPaths;
use super::config_formats;
use super::finding::SecretMatch;
use super::named_values::{self, Named, Variable};
use super::patterns::PATTERNS;
use super::secret_kind::SecretKind;
use super::text_encoding::{is_text, line_of};

/// Raise this with every change of the rules, so that files that an earlier version searched are
/// searched again.
const RULES: u32 = 2;

/// Treatment of files that contain secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecretPolicy {
    /// Leaves out credential files and files with a named value, and reports findings by format: a
    /// package store that lacks one file with a test key is a broken cache.
    #[default]
    Credentials,
    /// Leaves out every file with a finding.
    Skip,
    /// Saves nothing.
    Fail,
    /// Saves and reports them.
    Allow,
    /// Does not search.
    Off,
}

/// Why a search cannot be prepared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// A variable's value would be found everywhere.
    #[error(
        "the value of {name} is too short to search for: the minimum is {} characters",
        named_values::SHORTEST
    )]
    Short {
        /// The variable.
        name: String,
    },
    /// The values are too much for one search.
    #[error("the values of the variables are too long to search for")]
    TooMuch,
    /// Not a valid pattern of paths.
    #[error("`{pattern}` is not a path pattern")]
    Pattern {
        /// The pattern.
        pattern: String,
    },
}

/// Bytes of a file that are searched.
#[derive(Debug, Clone, Copy)]
pub struct SearchWindow<'a> {
    /// The names of the file and of the directory that holds it; several when it is linked.
    pub names: &'a [(&'a [u8], &'a [u8])],
    /// The bytes.
    pub content: &'a [u8],
    /// Whether they are the whole file.
    pub whole: bool,
    /// The bytes before and after the part in the file, up to [`Scanner::margin`].
    pub edges: [&'a [u8]; 2],
}

/// A search for secrets.
pub struct Scanner {
    policy: SecretPolicy,
    allowed: AllowedPaths,
    variables: Vec<Variable>,
    forms: Option<AhoCorasick>,
    named: Option<Named>,
}

impl fmt::Debug for Scanner {
    /// Shows no value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanner")
            .field("policy", &self.policy)
            .field("variables", &self.variables)
            .finish_non_exhaustive()
    }
}

impl Scanner {
    /// Prepares a search. `allowed` are patterns of paths whose findings change nothing.
    pub fn new(
        policy: SecretPolicy,
        variables: Vec<Variable>,
        allowed: &[String],
    ) -> Result<Self, SetupError> {
        let named = match &variables[..] {
            [] => None,
            variables => Some(Named::new(variables).map_err(|short| match short {
                Some(name) => SetupError::Short { name },
                None => SetupError::TooMuch,
            })?),
        };
        let forms = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(PATTERNS.iter().map(|pattern| pattern.prefix))
            .map_err(|_| SetupError::TooMuch)?;
        Ok(Self {
            policy,
            allowed: AllowedPaths::new(allowed)
                .map_err(|pattern| SetupError::Pattern { pattern })?,
            named: named.filter(|_| policy != SecretPolicy::Off),
            forms: Some(forms).filter(|_| policy != SecretPolicy::Off),
            variables,
        })
    }

    /// Looks for nothing.
    pub fn off() -> Self {
        Self {
            policy: SecretPolicy::Off,
            allowed: AllowedPaths::default(),
            variables: Vec::new(),
            forms: None,
            named: None,
        }
    }

    /// The treatment of files that contain secrets.
    pub fn policy(&self) -> SecretPolicy {
        self.policy
    }

    /// Whether the user allows findings at this path, relative to the saved directory.
    pub(crate) fn is_allowed(&self, path: &Path) -> bool {
        self.allowed.matches(path)
    }

    /// Number of bytes on either side of a part that must be known to find secrets across its ends.
    pub(crate) fn margin(&self) -> usize {
        self.named.as_ref().map_or(0, |named| named.longest() - 1)
    }

    /// Identifies the values that are searched for. A file without findings need not be searched
    /// again by a scanner with the same fingerprint. `None` if the scanner is off.
    ///
    /// The policy is not part of the fingerprint. The salt prevents lookups of short values in a
    /// precomputed table.
    pub(crate) fn fingerprint(&self, salt: &[u8; 16]) -> Option<[u8; 32]> {
        if self.policy == SecretPolicy::Off {
            return None;
        }
        let mut hasher = blake3::Hasher::new_derive_key("cachefs 2026 secrets searched for");
        hasher.update(salt).update(&RULES.to_le_bytes());
        let mut values: Vec<_> = self
            .variables
            .iter()
            .map(|variable| &variable.value)
            .collect();
        values.sort_unstable();
        values.dedup();
        for value in values {
            hasher
                .update(&(value.len() as u64).to_le_bytes())
                .update(value);
        }
        Some(*hasher.finalize().as_bytes())
    }

    /// Searches some bytes of a file. At most one hit for each line.
    pub fn search(&self, part: &SearchWindow<'_>) -> Vec<SecretMatch> {
        let mut hits = Vec::new();
        let Some(forms) = &self.forms else {
            return hits;
        };
        let text = is_text(part.content);
        let line = |at| (part.whole && text).then(|| line_of(part.content, at));
        if let Some(named) = &self.named {
            self.search_named(named, part, &line, &mut hits);
        }
        if part.whole {
            let place = part.names.iter().find_map(|(directory, name)| {
                config_formats::find_credential_file(directory, name)
                    .map(|place| (place, *directory))
            });
            if let Some((place, directory)) = place {
                for at in place.read(directory, part.content) {
                    let (kind, certain) = (place.kind, place.is_certain(directory));
                    add_match(
                        &mut hits,
                        SecretMatch {
                            line: line(at),
                            kind,
                            variable: None,
                            certain,
                        },
                    );
                }
            }
        }
        if part.whole && text {
            for found in forms.find_iter(part.content) {
                let pattern = &PATTERNS[found.pattern().as_usize()];
                if pattern.is_at(part.content, found.range()) {
                    let (line, kind) = (line(found.start()), pattern.kind);
                    add_match(
                        &mut hits,
                        SecretMatch {
                            line,
                            kind,
                            variable: None,
                            certain: false,
                        },
                    );
                }
            }
        }
        hits
    }

    fn search_named(
        &self,
        named: &Named,
        part: &SearchWindow<'_>,
        line: &dyn Fn(usize) -> Option<u64>,
        hits: &mut Vec<SecretMatch>,
    ) {
        let hit = |line, name: &str| SecretMatch {
            line,
            kind: SecretKind::NAMED,
            variable: Some(name.to_owned()),
            certain: true,
        };
        for (at, name) in named.find(part.content) {
            add_match(hits, hit(line(at), name));
        }
        let margin = self.margin().min(part.content.len());
        let [before, behind] = part.edges;
        let (front, back) = (
            &part.content[..margin],
            &part.content[part.content.len() - margin..],
        );
        for across in [[before, front], [back, behind]] {
            // Without a neighbour there is nothing across.
            if !before.is_empty() || !behind.is_empty() {
                for (_, name) in named.find(&across.concat()) {
                    add_match(hits, hit(None, name));
                }
            }
        }
    }
}

/// One finding per line is enough for a report, so only the first one is kept.
fn add_match(hits: &mut Vec<SecretMatch>, hit: SecretMatch) {
    let is_known = |known: &SecretMatch| {
        known.line == hit.line
            && (hit.line.is_some() || known.kind == hit.kind && known.variable == hit.variable)
    };
    if !hits.iter().any(is_known) {
        hits.push(hit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanner(values: &[&str]) -> Scanner {
        let variables = values.iter().map(|value| Variable {
            name: "TOKEN".to_owned(),
            value: value.as_bytes().to_vec(),
        });
        Scanner::new(SecretPolicy::Skip, variables.collect(), &[]).unwrap()
    }

    fn part<'a>(names: &'a [(&'a [u8], &'a [u8])], content: &'a [u8]) -> SearchWindow<'a> {
        SearchWindow {
            names,
            content,
            whole: true,
            edges: [b"", b""],
        }
    }

    #[test]
    fn one_hit_for_each_line() {
        let token = format!("npm_{}", "Zk3vQ9sLx81mN2pR7tWbYc5dFgHj4K6aEuXq");
        let text = format!("a=1\n//r.test/:_authToken={token}\n");
        let hits = scanner(&[]).search(&part(&[(b"", b".npmrc")], text.as_bytes()));
        assert_eq!(hits.len(), 1);
        assert_eq!(
            (hits[0].line, hits[0].kind.id, hits[0].certain),
            (Some(2), "npmrc", true)
        );
        let hits = scanner(&[]).search(&part(&[(b"", b"notes")], text.as_bytes()));
        assert_eq!(
            (hits[0].line, hits[0].kind.id, hits[0].certain),
            (Some(2), "npm-token", false)
        );
    }

    #[test]
    fn named_values_are_found_in_anything() {
        let scanner = scanner(&["s3cr3t-of-this-job"]);
        let binary = b"\0\0\0s3cr3t-of-this-job";
        let hits = scanner.search(&part(&[(b"", b"x")], binary));
        assert_eq!((hits.len(), hits[0].line), (1, None));
        let across = SearchWindow {
            names: &[],
            content: b"of-this-job and more",
            whole: false,
            edges: [b"xx s3cr3t-", b""],
        };
        assert_eq!(scanner.search(&across).len(), 1);
        let across = SearchWindow {
            names: &[],
            content: b"xxx s3cr3t-",
            whole: false,
            edges: [b"", b"of-this-job and more"],
        };
        assert_eq!(scanner.search(&across).len(), 1);
    }

    #[test]
    fn a_search_is_named_by_what_it_looks_for() {
        let salt = [1; 16];
        let of = |scanner: &Scanner| scanner.fingerprint(&salt);
        assert_eq!(of(&scanner(&[])), of(&scanner(&[])));
        assert_ne!(of(&scanner(&[])), of(&scanner(&["s3cr3t-of-this-job"])));
        assert_ne!(
            of(&scanner(&["s3cr3t-of-this-job"])),
            scanner(&["s3cr3t-of-this-job"]).fingerprint(&[2; 16])
        );
        assert_eq!(of(&Scanner::off()), None);
        let lenient = Scanner::new(SecretPolicy::Allow, Vec::new(), &["*.pem".to_owned()]).unwrap();
        assert_eq!(of(&scanner(&[])), of(&lenient));
    }
}
