//! What is printed: results on standard output, everything else on standard error.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cachefs_store::remote::Traffic;
use serde::Serialize;

use crate::args::Global;

/// The version of everything printed with `--format json`.
pub(crate) const JSON_VERSION: u32 = 1;

/// What is said when a signal ended the work.
pub(crate) const INTERRUPTED: &str = "interrupted: run it again to go on from here";

/// Sends the library's log to standard error.
pub(crate) fn start_log(global: &Global) {
    let default = match global.verbose {
        0 => "warn,fuser=error",
        1 => "info,fuser=error",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("CACHEFS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        // It would report a full disk under `daemon.log` there as well, and panic.
        .log_internal_errors(false)
        .init();
}

/// Prints a line for people.
///
/// A closed standard error is no reason to fail.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints a line of results. A reader that has had enough (`| head`) is no error.
pub(crate) fn print(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints one JSON object, with the version of the format.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut value = serde_json::to_value(value)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("version".to_owned(), JSON_VERSION.into());
    }
    print(&serde_json::to_string(&value)?);
    Ok(())
}

/// Prints an error with its hint.
pub(crate) fn complain(severity: &str, message: &str, hint: Option<&str>) {
    for line in complaint(severity, message, hint) {
        say(&line);
    }
}

/// An error with its hint, as lines to print.
pub(crate) fn complaint(severity: &str, message: &str, hint: Option<&str>) -> Vec<String> {
    let hint = hint.map(|hint| format!("  hint: {hint}"));
    std::iter::once(format!("{severity}: {message}"))
        .chain(hint)
        .collect()
}

/// Bytes for people, such as `12.3 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ if value < 10.0 => format!("{value:.2} {unit}"),
        _ if value < 100.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    let plural = match thing.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{thing}s"),
    };
    if number == 1 {
        format!("1 {thing}")
    } else {
        format!("{number} {plural}")
    }
}

/// A time span for people, such as `12 ms`.
pub(crate) fn span(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds if seconds < 60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// How long ago a time in microseconds since 1970 was, such as `3 h ago`.
pub(crate) fn age(micros: u64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = now.saturating_sub(Duration::from_micros(micros)).as_secs();
    match seconds {
        0..60 => "just now".to_owned(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// Requests and bytes, such as `4 requests, 1.2 MB received`.
pub(crate) fn traffic(traffic: &Traffic) -> String {
    let mut text = count(traffic.total_requests(), "request");
    if traffic.bytes_in > 0 {
        text.push_str(&format!(", {} received", bytes(traffic.bytes_in)));
    }
    if traffic.bytes_out > 0 {
        text.push_str(&format!(", {} sent", bytes(traffic.bytes_out)));
    }
    if traffic.retries > 0 {
        text.push_str(&format!(", {}", count(traffic.retries, "retry")));
    }
    text
}

/// A path as it can be shown on one line.
pub(crate) fn path(path: &Path) -> String {
    path.to_string_lossy()
        .escape_debug()
        .to_string()
        .replace("\\'", "'")
        .replace("\\\"", "\"")
}

/// Requests by kind, for JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Requests {
    get: u64,
    put: u64,
    head: u64,
    list: u64,
    delete: u64,
}

impl From<&Traffic> for Requests {
    fn from(traffic: &Traffic) -> Self {
        Self {
            get: traffic.gets,
            put: traffic.puts,
            head: traffic.heads,
            list: traffic.lists,
            delete: traffic.deletes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_234_567), "1.23 MB");
        assert_eq!(bytes(123_456_789), "123 MB");
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(count(2, "entry"), "2 entries");
        assert_eq!(span(Duration::from_millis(12)), "12 ms");
    }
}
