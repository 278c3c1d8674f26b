//! Errors in a template: the problem, its position, and a hint that names the fix.

use std::fmt;
use std::io;
use std::path::PathBuf;

use cachefs_store::refs::MAX_KEY_CHARS;

/// A half-open range of byte offsets in a template; both ends are character boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Offset of the first byte.
    pub(super) start: usize,
    /// Offset one past the last byte.
    pub(super) end: usize,
}

impl Span {
    /// Makes a span from `start` to `end`, exclusive.
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }
}

/// A [`TemplateProblem`] and its position, before the template is attached.
#[derive(Debug)]
pub(super) struct TemplateFault {
    pub(super) problem: TemplateProblem,
    pub(super) span: Span,
}

impl TemplateFault {
    /// Makes a fault at `span`.
    pub(super) fn new(problem: TemplateProblem, span: Span) -> Self {
        Self { problem, span }
    }

    /// Attaches the template, so that the error can show the position.
    pub(super) fn in_template(self, template: &str) -> KeyError {
        KeyError {
            problem: self.problem,
            template: template.to_owned(),
            span: self.span,
        }
    }
}

/// An error that prevented the expansion of a template.
///
/// `Display` prints only the message; [`KeyError::pointer`] shows the position and
/// [`KeyError::hint`] the fix.
#[derive(Debug)]
pub(crate) struct KeyError {
    problem: TemplateProblem,
    template: String,
    span: Span,
}

/// The kinds of error a template can have.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateProblem {
    /// The template ended inside an expression.
    #[error("unclosed `{open}`")]
    Unclosed {
        /// The opening delimiter, for example `${{`.
        open: &'static str,
    },
    /// A closing `}}` in plain text.
    #[error("unexpected `}}}}`")]
    StrayClose,
    /// A string without its closing quote.
    #[error("unclosed string, expected {quote}")]
    UnclosedString {
        /// The missing quote.
        quote: char,
    },
    /// A backslash in a string before a character that has no escape.
    #[error("unknown escape `\\{0}`")]
    BadEscape(char),
    /// A character that cannot occur in an expression.
    #[error("unexpected character {0:?}")]
    UnexpectedChar(char),
    /// A token where the grammar needs another one.
    #[error("expected {wanted}, found {found}")]
    Unexpected {
        /// The expected token, in words.
        wanted: &'static str,
        /// The token that was found.
        found: String,
    },
    /// Empty braces.
    #[error("empty expression")]
    EmptyExpression,
    /// A function that does not exist.
    #[error("unknown function `{0}`")]
    UnknownFunction(String),
    /// A variable that does not exist.
    #[error("unknown variable `{0}`")]
    UnknownVariable(String),
    /// A function called with too many or too few arguments.
    #[error("`{name}` takes {wanted}, not {got}")]
    Arguments {
        /// The function's name.
        name: String,
        /// The arguments that it takes, in words.
        wanted: &'static str,
        /// The number of arguments that were given.
        got: usize,
    },
    /// A file named by `checksum` does not exist.
    #[error("no file `{name}` in {}", .dir.display())]
    MissingFile {
        /// The path as the template names it.
        name: String,
        /// The directory that the path is relative to.
        dir: PathBuf,
    },
    /// Patterns that match no file.
    #[error("no file matches {patterns} in {}", .dir.display())]
    NoMatch {
        /// The patterns, quoted and joined.
        patterns: String,
        /// The directory that was searched.
        dir: PathBuf,
    },
    /// A path that is a directory, a device, a pipe or a socket.
    #[error("`{name}` is {what}, not a file")]
    NotAFile {
        /// The path as the template names it.
        name: String,
        /// The type of the file, in words.
        what: &'static str,
    },
    /// A symbolic link inside the workspace that points outside of it.
    #[error("`{name}` is a link out of the workspace")]
    LeavesWorkspace {
        /// The path as the template names it.
        name: String,
    },
    /// A pattern that cannot be compiled.
    #[error("bad pattern `{pattern}`: {reason}")]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// The error of the glob compiler.
        reason: String,
    },
    /// A file or directory that exists but cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// A variable, in a template that may not read variables.
    #[error("`{0}` cannot be used here: the variables belong to the service that expands the key")]
    Withheld(String),
    /// A function that reads files, in a template that may not read files.
    #[error("`{0}` cannot be used here: the files belong to the host that expands the key")]
    NoFiles(String),
    /// A variable that is not set in the environment.
    #[error("environment variable `{0}` is not set")]
    Unset(String),
    /// A property of the build, such as its branch, that the CI system does not report.
    #[error("`{name}` is unknown {place}")]
    UnknownHere {
        /// The variable as the template names it.
        name: String,
        /// The CI system, in words; or that there is none.
        place: String,
        /// The environment variables that could supply the value, joined.
        variables: String,
    },
    /// An empty key.
    #[error("key is empty")]
    Empty,
    /// A key over the limit; its length in characters.
    #[error("key has {0} characters, more than {MAX_KEY_CHARS}")]
    TooLong(usize),
    /// A control character in a key.
    #[error("key contains the control character {0:?}")]
    Control(char),
}

/// The functions that a template can call, for hints.
pub(super) const FUNCTIONS: &str = "checksum, hashFiles, arch, os, epoch, env";

impl KeyError {
    /// The fix, as a sentence without a full stop.
    pub(crate) fn hint(&self) -> String {
        match &self.problem {
            TemplateProblem::Unclosed { .. } => "every `{{` needs a `}}`, every `(` a `)`".into(),
            TemplateProblem::StrayClose => {
                "open the expression with `{{`, or drop the braces".into()
            }
            TemplateProblem::UnclosedString { .. } => {
                "close the string before the expression ends".into()
            }
            TemplateProblem::BadEscape(_) => {
                "`\\\\`, `\\\"`, `\\n` and `\\t` exist; text in backquotes is literal".into()
            }
            TemplateProblem::UnexpectedChar('\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}') => {
                "use straight quotes".into()
            }
            TemplateProblem::UnexpectedChar(_) | TemplateProblem::Unexpected { .. } => {
                "an expression is `{{ function \"argument\" }}` or `{{ .Variable }}`".into()
            }
            TemplateProblem::EmptyExpression | TemplateProblem::UnknownFunction(_) => {
                format!("functions are {FUNCTIONS}")
            }
            TemplateProblem::UnknownVariable(name) => unknown_variable_hint(name),
            TemplateProblem::Arguments { name, .. } => match name.as_str() {
                "checksum" | "hashFiles" => format!("name the files: `{name} \"file\"`"),
                "env" => "write `env \"NAME\"`".into(),
                _ => format!("write `{{{{ {name} }}}}`"),
            },
            TemplateProblem::MissingFile { .. } | TemplateProblem::NoMatch { .. } => {
                "run in the directory of the files, or correct the name; --allow-missing accepts missing files"
                    .into()
            }
            TemplateProblem::NotAFile { name, .. } => {
                format!("use `hashFiles('{name}/**')` for the files in a directory")
            }
            TemplateProblem::LeavesWorkspace { .. } => "use the target of the link".into(),
            TemplateProblem::BadPattern { .. } => {
                "patterns support `*`, `**`, `?`, `[a-z]`, `{a,b}` and a leading `!`".into()
            }
            TemplateProblem::Unreadable { .. } => {
                "check the permissions of the file and its parents".into()
            }
            TemplateProblem::Withheld(_) => {
                "put the value into the key; os, arch and epoch can be used everywhere".into()
            }
            TemplateProblem::NoFiles(_) => {
                "put the hash into the key: `cachefs key '{{ checksum \"FILE\" }}'` prints it"
                    .into()
            }
            TemplateProblem::Unset(_) => {
                "set it for this step; --allow-missing accepts unset variables".into()
            }
            TemplateProblem::UnknownHere { variables, .. } => match variables.contains(',') {
                true => format!("set one of {variables}"),
                false => format!("set {variables}"),
            },
            TemplateProblem::Empty => "add fixed text, such as the name of the tool".into(),
            TemplateProblem::TooLong(_) => {
                "put what is long into a file and use its checksum".into()
            }
            TemplateProblem::Control(_) => "check the value for line breaks".into(),
        }
    }

    /// The line of the template with the error, and below it a line of carets that mark the
    /// position.
    pub(crate) fn pointer(&self) -> String {
        let before = &self.template[..self.span.start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = &self.template[self.span.start..];
        let line_end = self.span.start + rest.find('\n').unwrap_or(rest.len());
        // Control characters would move the terminal's cursor and misplace the caret.
        let shown: String = self.template[line_start..line_end]
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let indent = self.template[line_start..self.span.start].chars().count();
        let marked_end = self.span.end.clamp(self.span.start, line_end);
        let width = self.template[self.span.start..marked_end].chars().count();
        format!(
            "{shown}\n{}{}",
            " ".repeat(indent),
            "^".repeat(width.max(1))
        )
    }

    /// The column of the error: characters from the start of the template.
    #[cfg(test)]
    pub(super) fn column(&self) -> usize {
        self.template[..self.span.start].chars().count()
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.problem, f)
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.problem)
    }
}

/// Lists the variables that exist, or explains why this one cannot.
fn unknown_variable_hint(name: &str) -> String {
    let first = name.split('.').next().unwrap_or_default();
    match first {
        "matrix" | "steps" | "needs" | "inputs" | "secrets" | "vars" | "job" | "strategy" => {
            format!(
                "`{first}` is known to the workflow engine only: let it expand the key, or pass the \
             value as a variable and use `env.NAME`"
            )
        }
        _ => format!(
            "variables are {}, .Environment.NAME, env.NAME, github.NAME and runner.NAME",
            crate::ci::variable_names()
        ),
    }
}
