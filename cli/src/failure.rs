//! Converts errors to messages and exit codes.

use std::time::Duration;

use cachefs_store::ErrorKind;
use cachefs_store::remote::RemoteTraffic;
use clap::error::ErrorKind as ArgumentErrorKind;

use crate::config::ConfigError;
use crate::hints::word_hint;
use crate::keys::KeyError;
use crate::{exit, text};

/// A failed command or operation, for users and for scripts.
#[derive(Debug)]
pub(crate) struct CommandFailure {
    /// The error, on one line.
    pub(crate) message: String,
    /// The fix.
    pub(crate) hint: Option<String>,
    /// The exit code; 0 if the error was reduced to a warning.
    pub(crate) code: u8,
    /// The kind of error, as in the JSON output.
    pub(crate) kind: &'static str,
    /// The lines to print; empty for an interruption, which is reported once for all operations.
    pub(crate) lines: Vec<String>,
    /// Duration of the operation.
    pub(crate) elapsed: Duration,
    /// Requests and bytes of the operation.
    pub(crate) traffic: RemoteTraffic,
}

impl CommandFailure {
    /// Adds the duration and the traffic of the operation.
    pub(crate) fn after(self, elapsed: Duration, traffic: RemoteTraffic) -> Self {
        Self {
            elapsed,
            traffic,
            ..self
        }
    }

    fn new(code: u8, kind: &'static str, message: String, hint: Option<String>) -> Self {
        Self {
            lines: text::error_lines("error", &message, hint.as_deref()),
            message,
            hint,
            code,
            kind,
            elapsed: Duration::ZERO,
            traffic: RemoteTraffic::default(),
        }
    }
}

/// Describes an error. With `soft`, errors that a build can tolerate become warnings, unless the
/// options are strict.
pub(crate) fn describe_failure(error: &anyhow::Error, soft: bool) -> CommandFailure {
    if let Some(error) = error.downcast_ref::<KeyError>() {
        return usage_failure_at(error.to_string(), &error.pointer(), error.hint());
    }
    if let Some(error) = error.downcast_ref::<ConfigError>() {
        return usage_failure_at(error.to_string(), &error.pointer(), error.hint());
    }
    if let Some(NotFound { message, hint }) = error.downcast_ref::<NotFound>() {
        return CommandFailure::new(exit::MISS, "not_found", message.clone(), hint.clone());
    }
    let (kind, message, hint) = match error.downcast_ref::<cachefs::Error>() {
        Some(known) => (
            known.kind(),
            cachefs::describe_chain(known),
            known.hint().as_ref().map(word_hint),
        ),
        None => (ErrorKind::Local, format!("{error:#}"), None),
    };
    let passes = soft && exit::is_soft(kind);
    let severity = if passes { "warning" } else { "error" };
    let mut lines = text::error_lines(severity, &message, hint.as_deref());
    if passes {
        lines.push(
            "  CACHE NOT USED: the build continues without the cache (--strict-errors would stop it here)"
                .into(),
        );
    }
    if kind == ErrorKind::Cancelled {
        lines.clear();
    }
    let code = match passes {
        true => exit::SUCCESS,
        false => exit::exit_code(kind),
    };
    CommandFailure {
        lines,
        ..CommandFailure::new(code, kind_name(kind), message, hint)
    }
}

/// A key or another named thing does not exist: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct NotFound {
    message: String,
    hint: Option<String>,
}

/// The error for something that does not exist; never reduced to a warning.
pub(crate) fn not_found_error(message: impl Into<String>, hint: Option<&str>) -> anyhow::Error {
    NotFound {
        message: message.into(),
        hint: hint.map(str::to_owned),
    }
    .into()
}

/// Describes arguments that cannot be parsed.
pub(crate) fn of_arguments(error: &clap::Error) -> CommandFailure {
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|it| it.trim_end().to_owned());
    let first = paragraphs.next().unwrap_or_default();
    let message = match error.kind() {
        ArgumentErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ArgumentErrorKind::MissingSubcommand => "missing command".to_owned(),
        _ => {
            let message = first.strip_prefix("error: ").unwrap_or(&first);
            message.split_whitespace().collect::<Vec<_>>().join(" ")
        }
    };
    let tip = paragraphs.find_map(|it| Some(it.trim().strip_prefix("tip: ")?.to_owned()));
    let hint = tip.unwrap_or_else(|| "see --help".to_owned());
    CommandFailure::new(exit::USAGE, "usage", message, Some(hint))
}

/// A usage error with a line that points at its position.
fn usage_failure_at(message: String, pointer: &str, hint: String) -> CommandFailure {
    let mut lines = vec![format!("error: {message}"), String::new()];
    lines.extend(pointer.split('\n').map(str::to_owned));
    lines.extend([String::new(), format!("  hint: {hint}")]);
    CommandFailure {
        lines,
        ..CommandFailure::new(exit::USAGE, "usage", message, Some(hint))
    }
}

fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Usage => "usage",
        ErrorKind::Backend => "backend",
        ErrorKind::Integrity => "integrity",
        ErrorKind::Local => "local",
        ErrorKind::Changed => "changed",
        ErrorKind::Cancelled => "interrupted",
    }
}
