//! Redacts values that differ between machines and runs.

use std::fmt::Write as _;

use cachefs_tests::harness::Cachefs;
use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// Patterns for values that vary everywhere, and their placeholders. Order matters: for example, a
/// date contains numbers, and part of it would match as a size.
const VARYING: &[(&str, &str)] = &[
    (r"\x1b\[[0-9;]*m", ""),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[DATE]"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]"),
    (r"\br?[0-9a-f]{14,64}\b", "[HASH]"),
    (r"\bcachefs_[0-9a-f]{32}\b", "cachefs_[HASH]"),
    (r"/[0-9a-f]{2}/\[HASH\]", "/[HASH]"),
    // Measured times; constants in messages, for example 30s, have no space.
    (r"\b\d+ min \d+ s\b", "[TIME]"),
    (r"\b\d+(\.\d+)? (ms|s|min)\b", "[TIME]"),
    (r"\b\d+(\.\d+)? (B|kB|MB|GB|TB)\b", "[SIZE]"),
    (r"\b\d+ (requests|frames|retries)\b", "[N] $1"),
    (r"\b1 (request|frame)\b", "[N] $1s"),
    (r"\bprocess \d+", "process [PID]"),
    (r"\((\d+)\): (has|working)", "([PID]): $2"),
    (r"\blinux \d+\.\d+\b", "linux [KERNEL]"),
    (r"\b(x86_64|aarch64|amd64|arm64)\b", "[ARCH]"),
    (r"(by|just now) +\[HOST\]", "$1 [HOST]"),
    (r"\bPATH=[!#-~]*", "PATH=[PATH]"),
    // The request count, in the last column of a Markdown summary.
    (r"\| \d+ \|", "| [N] |"),
    // The column width depends on the replaced values.
    (r"([!-~]) {2,}", "$1  "),
];

/// JSON numbers that vary.
const VARYING_NUMBERS: &str = r"(?x)
    micros$ | milliseconds$ | seconds$ | bytes | ^length$ | ^created$ | ^pid$ | ^supervisor$
    | ^(get|put|head|list|delete)s?$ | ^retries$ | frames$ | ^count$ | cost | _ms$";

/// JSON strings that vary.
const VARYING_TEXT: &str = r"^(host|arch|libc)$";

/// The replacements for one machine.
pub(crate) struct Redactions {
    names: Vec<(String, &'static str)>,
    patterns: Vec<(Regex, &'static str)>,
}

impl Redactions {
    /// The replacements for a machine: its directories, and values that vary everywhere.
    pub(crate) fn of(machine: &Cachefs) -> Self {
        let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        let remote = machine.remote().trim_start_matches("file://").to_owned();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let hosts = format!(r"\b(by|just now)( +){}\b", regex::escape(host.trim()));
        let patterns = [(hosts.as_str(), "$1$2[HOST]")];
        Self {
            names: vec![
                (text(machine.work()), "[WORK]"),
                (text(machine.store()), "[STORE]"),
                (text(machine.home()), "[HOME]"),
                (remote, "[REMOTE]"),
                (text(machine.sandbox().path().to_owned()), "[SANDBOX]"),
                (text(machine.binary().to_owned()), "[BINARY]"),
                (env!("CARGO_PKG_VERSION").to_owned(), "[VERSION]"),
            ],
            patterns: patterns
                .iter()
                .chain(VARYING)
                .map(|(pattern, placeholder)| (regex(pattern), *placeholder))
                .collect(),
        }
    }

    /// Replaces values in text with placeholders.
    pub(crate) fn text(&self, text: &str) -> String {
        let names = self.names.iter();
        let text = names.fold(text.to_owned(), |text, (name, placeholder)| {
            text.replace(name, placeholder)
        });
        let patterns = self.patterns.iter();
        patterns.fold(text, |text, (pattern, placeholder)| {
            pattern.replace_all(&text, *placeholder).into_owned()
        })
    }
}

/// An ASCII-only pattern: the Unicode tables are not compiled in.
fn regex(pattern: &str) -> Regex {
    let builder = RegexBuilder::new(pattern).unicode(false).build();
    builder.unwrap()
}

/// Formats a JSON object with placeholders: one line per member, and per object in a list.
pub(crate) fn object(mut object: Value, redactions: &Redactions) -> String {
    redact(&mut object, "", redactions);
    let mut text = "{\n".to_owned();
    for (name, member) in object.as_object().unwrap() {
        match member {
            Value::Array(elements) if elements.iter().any(Value::is_object) => {
                writeln!(text, "  {name:?}: [").unwrap();
                for element in elements {
                    writeln!(text, "    {element}").unwrap();
                }
                text.push_str("  ]\n");
            }
            member => writeln!(text, "  {name:?}: {member}").unwrap(),
        }
    }
    text + "}\n"
}

fn redact(value: &mut Value, name: &str, redactions: &Redactions) {
    let varies = |pattern| regex(pattern).is_match(name);
    match value {
        Value::Number(_) if varies(VARYING_NUMBERS) => *value = "[N]".into(),
        Value::String(text) if varies(VARYING_TEXT) => *text = format!("[{}]", name.to_uppercase()),
        Value::String(text) => *text = redactions.text(text),
        Value::Array(elements) => {
            for element in elements {
                redact(element, name, redactions);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                redact(member, name, redactions);
            }
        }
        _ => {}
    }
}
