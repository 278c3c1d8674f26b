//! Warnings and errors where the CI system shows them, beside the log.

use super::azure;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Info,
    Warning,
    Error,
}

/// Whose annotations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Annotations {
    /// Nobody's.
    #[default]
    None,
    /// GitHub's workflow commands.
    GitHub,
    /// Azure Pipelines' logging commands.
    Azure,
}

impl Annotations {
    /// The line that makes an annotation of a message; `None` for what is no warning or error, or
    /// where nobody takes annotations.
    pub(crate) fn line(self, level: Level, message: &str) -> Option<String> {
        let severity = match level {
            Level::Info => return None,
            Level::Warning => "warning",
            Level::Error => "error",
        };
        match self {
            Self::None => None,
            Self::GitHub => {
                let message = message
                    .replace('%', "%25")
                    .replace('\r', "%0D")
                    .replace('\n', "%0A");
                Some(format!("::{severity} title=cachefs::{message}"))
            }
            Self::Azure => {
                let message = azure::escape(message);
                Some(format!(
                    "##vso[task.logissue type={severity}]cachefs: {message}"
                ))
            }
        }
    }

    /// A line for people in which nothing is a command to the system: keys of other people's builds
    /// are printed too.
    pub(crate) fn harmless(self, line: &str) -> String {
        match self {
            Self::None => line.to_owned(),
            Self::GitHub | Self::Azure => line
                .split('\n')
                .map(|line| match line.trim_start().strip_prefix("::") {
                    Some(rest) => format!(": :{rest}"),
                    None => line.replace("##[", "# #[").replace("##vso[", "# #vso["),
                })
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_one_line_each() {
        let line = Annotations::GitHub.line(Level::Warning, "100% lost\n  hint: try again");
        assert_eq!(
            line.as_deref(),
            Some("::warning title=cachefs::100%25 lost%0A  hint: try again")
        );
        let line = Annotations::Azure.line(Level::Error, "no bucket");
        assert_eq!(
            line.as_deref(),
            Some("##vso[task.logissue type=error]cachefs: no bucket")
        );
        assert_eq!(Annotations::GitHub.line(Level::Info, "hit"), None);
        assert_eq!(Annotations::None.line(Level::Error, "x"), None);
    }

    #[test]
    fn no_key_is_a_command() {
        let azure = Annotations::Azure;
        let line = azure.harmless("hit ##vso[task.setvariable variable=PATH]/tmp: mounted");
        assert!(!line.contains("##vso["), "{line}");
        let line = Annotations::GitHub.harmless("hit a\n ::set-output name=x::y");
        assert!(
            line.lines()
                .all(|line| !line.trim_start().starts_with("::")),
            "{line}"
        );
        assert_eq!(Annotations::None.harmless("::x"), "::x");
    }
}
