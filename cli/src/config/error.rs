//! Errors in a configuration file, with position and hint.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::find::PROJECT_FILE;

/// A position in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilePosition {
    /// The file.
    pub(crate) file: PathBuf,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The column in characters, from 1.
    pub(crate) column: usize,
}

impl FilePosition {
    /// The position of a byte offset in a file's text.
    pub(super) fn at(file: &Path, text: &str, offset: usize) -> Self {
        let before = &text[..text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for FilePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// An error in a configuration file.
///
/// `Display` prints the message with its position; [`ConfigError::pointer`] shows the line and
/// [`ConfigError::hint`] the fix.
#[derive(Debug)]
pub(crate) struct ConfigError {
    place: FilePosition,
    /// The text of the line with the error.
    line: String,
    /// The number of characters to mark.
    width: usize,
    problem: Box<ConfigProblem>,
}

/// The kinds of error a file can have.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigProblem {
    /// Not valid TOML.
    #[error("{0}")]
    Syntax(String),
    /// Not valid UTF-8.
    #[error("this is not UTF-8 text")]
    NotText,
    /// An unknown setting.
    #[error("unknown setting `{name}`{place}")]
    Unknown {
        /// The unknown name.
        name: String,
        /// The table that it was found in, with a leading space.
        place: &'static str,
        /// The known names.
        known: Vec<String>,
    },
    /// A value of the wrong type.
    #[error("`{name}` takes {wanted}, not {found}")]
    Type {
        /// The setting.
        name: String,
        /// The expected type.
        wanted: &'static str,
        /// The type that was given.
        found: &'static str,
    },
    /// A value of the right type that is invalid.
    #[error("{message}")]
    Value {
        /// The error.
        message: String,
        /// The fix.
        hint: String,
    },
    /// One setting under two names.
    #[error("`{0}` is set twice")]
    Twice(String),
    /// A cache or layer without a required setting.
    #[error("{owner} has no `{name}`")]
    Missing {
        /// The cache or layer.
        owner: String,
        /// The missing setting.
        name: &'static str,
        /// An example for the hint.
        example: &'static str,
    },
    /// A setting that a project's file may not contain.
    #[error("`{0}` cannot be set by a project")]
    NotForProjects(String),
    /// Caches in a file other than a project's.
    #[error("only a project's file can define caches")]
    CachesOutside,
}

impl ConfigError {
    /// Attaches the file and its text to a problem at `span`.
    pub(super) fn new(problem: ConfigProblem, file: &Path, text: &str, span: Range<usize>) -> Self {
        let place = FilePosition::at(file, text, span.start);
        let line = text.lines().nth(place.line - 1).unwrap_or_default();
        let rest = line.chars().count().saturating_sub(place.column - 1);
        let marked = text.get(span).map_or(1, |text| text.chars().count());
        Self {
            place,
            line: line.to_owned(),
            width: marked.min(rest).max(1),
            problem: Box::new(problem),
        }
    }

    /// The line of the file with the error, and below it a line of carets that mark the position.
    pub(crate) fn pointer(&self) -> String {
        let shown: String = self
            .line
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let indent = " ".repeat(self.place.column - 1);
        format!("{shown}\n{indent}{}", "^".repeat(self.width))
    }

    /// The fix, as a sentence without a full stop.
    pub(crate) fn hint(&self) -> String {
        match &*self.problem {
            ConfigProblem::Syntax(_) => {
                "the file is TOML: strings need quotes, tables are `[cache.NAME]`".into()
            }
            ConfigProblem::NotText => "save the file as UTF-8".into(),
            ConfigProblem::Unknown { name, known, .. } => match nearest_name(name, known) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("settings here are {}", known.join(", ")),
            },
            ConfigProblem::Type { name, wanted, .. } => match *wanted {
                "true or false" => format!("write {name} = true"),
                "a string" | "a string or a number" => format!("write {name} = \"...\""),
                wanted if wanted.contains("list") => format!("write {name}s = [\"...\"]"),
                _ => "see docs/configuration.md for an example".into(),
            },
            ConfigProblem::Value { hint, .. } => hint.clone(),
            ConfigProblem::Twice(_) => "keep one of them".into(),
            ConfigProblem::Missing { example, .. } => format!("for example {example}"),
            ConfigProblem::NotForProjects(name) => format!(
                "set it with --{name}, in the environment, or in the user's or the system's config.toml; anyone who proposes a change can edit this file"
            ),
            ConfigProblem::CachesOutside => {
                format!("move it to {PROJECT_FILE} in the root of the project")
            }
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.place, self.place.column, self.problem)
    }
}

impl std::error::Error for ConfigError {}

/// The known name that is most similar to `name`, if one is similar enough to be meant.
///
/// The edit distance decides first: we allow one edit per three letters, so `kee` is `key` and not
/// `keep-changes`. Similarity, which favours a common prefix, breaks ties and finds abbreviations
/// such as `compress` for `compression`.
pub(super) fn nearest_name<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let name = name.replace('_', "-").to_lowercase();
    let likeness = |known: &str| strsim::jaro_winkler(&name, known);
    let by_likeness = |a: &&String, b: &&String| likeness(a).total_cmp(&likeness(b));
    let edits = |known: &str| strsim::osa_distance(&name, known);
    let is_typo = |known: &&String| edits(known) * 3 <= name.len().max(known.len());
    let typo = known
        .iter()
        .filter(is_typo)
        .min_by(|a, b| edits(a).cmp(&edits(b)).then(by_likeness(b, a)));
    let alike = || {
        let alike = known.iter().filter(|known| likeness(known) > 0.8);
        alike.max_by(by_likeness)
    };
    typo.or_else(alike).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_in_a_short_name_is_no_abbreviation_of_a_long_one() {
        let known = [
            "keep-changes",
            "key",
            "restore-keys",
            "path",
            "compression-level",
            "store",
            "scope",
        ]
        .map(str::to_owned);
        for (name, meant) in [
            ("kee", Some("key")),
            ("keyy", Some("key")),
            ("kye", Some("key")),
            ("keep", Some("keep-changes")),
            ("keep_change", Some("keep-changes")),
            ("restore-key", Some("restore-keys")),
            ("compression", Some("compression-level")),
            ("pth", Some("path")),
            ("stroe", Some("store")),
            ("owner", None),
        ] {
            assert_eq!(nearest_name(name, &known), meant, "{name}");
        }
    }
}
