//! Warnings and errors as annotations in the CI system's interface.

use std::borrow::Cow;

use super::azure;

/// The level of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnnotationLevel {
    Info,
    Warning,
    Error,
}

/// The CI system whose annotations are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Annotations {
    /// No annotations.
    #[default]
    None,
    /// GitHub's workflow commands.
    GitHub,
    /// Azure Pipelines' logging commands.
    Azure,
}

impl Annotations {
    /// The annotation for a message; `None` for other levels than warning and error, and for
    /// systems without annotations.
    pub(crate) fn line(self, level: AnnotationLevel, message: &str) -> Option<String> {
        let severity = match level {
            AnnotationLevel::Info => return None,
            AnnotationLevel::Warning => "warning",
            AnnotationLevel::Error => "error",
        };
        let message = &*no_commands(&escape_controls(message));
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
                let message = azure::escape_command(message);
                Some(format!(
                    "##vso[task.logissue type={severity}]cachefs: {message}"
                ))
            }
        }
    }

    /// Escapes text so that neither this system nor a terminal executes any part of it. We also
    /// print keys and records of other users' builds.
    pub(crate) fn harmless(self, text: &str) -> String {
        let text = escape_controls(text);
        match self {
            Self::None => text.into_owned(),
            Self::GitHub | Self::Azure => text
                .split('\n')
                .map(|line| match line.trim_start().strip_prefix("::") {
                    Some(rest) => format!(": :{rest}"),
                    None => line.to_owned(),
                })
                .map(|line| no_commands(&line))
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }
}

/// Removes text that both systems would execute as a command anywhere in a line.
fn no_commands(text: &str) -> String {
    text.replace("##[", "# #[").replace("##vso[", "# #vso[")
}

/// Escapes characters that would move the cursor, hide text or reverse its direction. Newlines and
/// tabs stay.
fn escape_controls(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_deceptive) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match is_deceptive(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out.into()
}

/// Whether a character controls a terminal, ends a line for some readers, or is invisible and
/// changes how the text around it looks.
fn is_deceptive(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Line and paragraph separators; direction marks and overrides; zero-width joiners and
        // spaces; tags.
        '\u{2028}'..='\u{202e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2060}'..='\u{206f}'
        | '\u{61c}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_one_line_each() {
        let line =
            Annotations::GitHub.line(AnnotationLevel::Warning, "100% lost\n  hint: try again");
        assert_eq!(
            line.as_deref(),
            Some("::warning title=cachefs::100%25 lost%0A  hint: try again")
        );
        let line = Annotations::Azure.line(AnnotationLevel::Error, "no bucket");
        assert_eq!(
            line.as_deref(),
            Some("##vso[task.logissue type=error]cachefs: no bucket")
        );
        let line = Annotations::Azure.line(AnnotationLevel::Warning, "key ##vso[task.complete]x");
        assert_eq!(line.unwrap().matches("##vso[").count(), 1);
        assert_eq!(Annotations::GitHub.line(AnnotationLevel::Info, "hit"), None);
        assert_eq!(Annotations::None.line(AnnotationLevel::Error, "x"), None);
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

    #[test]
    fn no_text_is_a_command_to_a_terminal_or_hides_another() {
        for annotations in [Annotations::None, Annotations::GitHub, Annotations::Azure] {
            let text =
                "a\r::set-output name=x::y\x1b]0;t\x07\u{202e}\u{200b}\u{2028}b\u{85}c\u{e0041}";
            let shown = annotations.harmless(text);
            assert!(
                shown.is_ascii() && !shown.contains(char::is_control),
                "{shown:?}"
            );
            assert!(
                shown.starts_with("a\\r::set-output name=x::y\\u{1b}]0;t"),
                "{shown}"
            );
            let text = "hit k\n\tby Zoë 構築 👩";
            assert_eq!(annotations.harmless(text), text);
        }
    }
}
