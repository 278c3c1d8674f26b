//! How an error is told, and what it means for the exit code.

use cachefs_store::ErrorKind;

use crate::args::Global;
use crate::keys::KeyError;
use crate::{exit, output};

/// An error, in the words for people and for scripts.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What went wrong, on one line.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// The exit code; success when the error was turned into a warning.
    pub(crate) code: u8,
    /// The sort of error, as JSON has it.
    pub(crate) kind: &'static str,
    /// What to print, line by line; nothing for an interruption, which is told once for all.
    pub(crate) lines: Vec<String>,
}

/// Finds out what to make of an error; `soft` says that the command passes over what a build can
/// live with.
pub(crate) fn failure(global: &Global, error: &anyhow::Error, soft: bool) -> Failure {
    if let Some(error) = error.downcast_ref::<KeyError>() {
        let pointer = format!("\n{}\n", error.pointer());
        let mut lines = vec![format!("error: {error}")];
        lines.extend(pointer.split('\n').map(str::to_owned));
        lines.push(format!("  hint: {}", error.hint()));
        return Failure {
            message: error.to_string(),
            hint: Some(error.hint()),
            code: exit::USAGE,
            kind: "usage",
            lines,
        };
    }
    let (kind, message, hint) = match error.downcast_ref::<cachefs::Error>() {
        Some(known) => (known.kind(), cachefs::describe(known), known.hint()),
        None => (ErrorKind::Local, format!("{error:#}"), None),
    };
    let passes = soft && !global.strict_errors && exit::is_soft(kind);
    let severity = if passes { "warning" } else { "error" };
    let mut lines = output::complaint(severity, &message, hint.as_deref());
    if passes {
        lines.push(
            "  the build goes on without the cache (use --strict-errors to stop it here)".into(),
        );
    }
    if kind == ErrorKind::Cancelled {
        lines.clear();
    }
    Failure {
        message,
        hint,
        code: if passes {
            exit::SUCCESS
        } else {
            exit::code(kind)
        },
        kind: name(kind),
        lines,
    }
}

fn name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Usage => "usage",
        ErrorKind::Backend => "backend",
        ErrorKind::Integrity => "integrity",
        ErrorKind::Local => "local",
        ErrorKind::Changed => "changed",
        ErrorKind::Cancelled => "interrupted",
    }
}
