//! Values that the user named: the secrets of this very job, whatever they look like.

use std::fmt;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shorter values are found everywhere by chance.
pub(super) const SHORTEST: usize = 8;

/// A variable whose value must not be saved.
#[derive(Clone)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Vec<u8>,
}

impl fmt::Debug for Variable {
    /// Shows the name only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The values, ready to be searched for.
pub(super) struct Named {
    variables: Vec<String>,
    /// The variable that each pattern is a form of.
    owners: Vec<usize>,
    search: AhoCorasick,
    longest: usize,
}

impl Named {
    /// Fails with the name of a variable that is too short to be searched for, or with `None` when
    /// the values are too much together.
    pub(super) fn new(variables: &[Variable]) -> Result<Self, Option<String>> {
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        let mut owners = Vec::new();
        for (owner, variable) in variables.iter().enumerate() {
            let value = longest_line(&variable.value);
            if value.len() < SHORTEST {
                return Err(Some(variable.name.clone()));
            }
            for form in
                std::iter::once(value.to_vec()).chain(base64_cores(variable.value.trim_ascii()))
            {
                if !patterns.contains(&form) {
                    patterns.push(form);
                    owners.push(owner);
                }
            }
        }
        Ok(Self {
            variables: variables
                .iter()
                .map(|variable| variable.name.clone())
                .collect(),
            owners,
            longest: patterns.iter().map(Vec::len).max().unwrap_or(0),
            search: AhoCorasick::new(&patterns).map_err(|_| None)?,
        })
    }

    /// The length of the longest form of a value.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Where values are in `content`, and the variables' names.
    pub(super) fn find<'a>(&'a self, content: &'a [u8]) -> impl Iterator<Item = (usize, &'a str)> {
        self.search.find_iter(content).map(|found| {
            (
                found.start(),
                &*self.variables[self.owners[found.pattern().as_usize()]],
            )
        })
    }
}

/// Selects the part of a multi-line value that is searched for. Files may use other line endings,
/// so the whole value might not match.
fn longest_line(value: &[u8]) -> &[u8] {
    let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.max_by_key(|line| line.len()).unwrap_or_default()
}

/// Returns the parts of a value's base64 that do not depend on the bytes around it, for each of the
/// three offsets that it can have in a group of three bytes.
fn base64_cores(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for before in 0..3 {
        let padded = [&[0; 2][..before], value].concat();
        // Characters that hold bits of bytes before or behind are not the value's own.
        let first = [0, 2, 3][before];
        let end = padded.len() * 8 / 6;
        for text in [
            STANDARD_NO_PAD.encode(&padded),
            URL_SAFE_NO_PAD.encode(&padded),
        ] {
            forms.push(text.as_bytes()[first..end].to_vec());
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(value: &str) -> Named {
        let value = value.as_bytes().to_vec();
        let name = "TOKEN".to_owned();
        Named::new(&[Variable { name, value }])
            .map_err(|_| "refused")
            .unwrap()
    }

    #[test]
    fn plain_and_as_base64_wherever_it_lies() {
        let named = named("s3cr3t-of-this-job");
        for text in [
            "x s3cr3t-of-this-job y".to_owned(),
            STANDARD_NO_PAD.encode("s3cr3t-of-this-job"),
            STANDARD_NO_PAD.encode("user:s3cr3t-of-this-job"),
            STANDARD_NO_PAD.encode("me:s3cr3t-of-this-job\n"),
            URL_SAFE_NO_PAD.encode("admin:s3cr3t-of-this-job, and more"),
        ] {
            assert_eq!(
                named.find(text.as_bytes()).map(|found| found.1).next(),
                Some("TOKEN"),
                "{text}"
            );
        }
        assert_eq!(named.find(b"s3cr3t-of-this-jo").count(), 0);
    }

    #[test]
    fn values_of_several_lines() {
        let named = named("-begin-\nthe longest line of them\n-end-\n");
        assert_eq!(
            named
                .find(b"-begin-\r\nthe longest line of them\r\n-end-")
                .count(),
            1
        );
    }

    #[test]
    fn short_values_are_refused_by_name() {
        let short = Variable {
            name: "PIN".to_owned(),
            value: b"1234567".to_vec(),
        };
        assert_eq!(
            Named::new(std::slice::from_ref(&short)).err(),
            Some(Some("PIN".to_owned()))
        );
        assert!(!format!("{short:?}").contains("1234567"));
    }
}
