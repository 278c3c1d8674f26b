//! Prints lines on standard error: as text, as JSON, or as annotations of a CI system.

use std::io::Write as _;
use std::sync::OnceLock;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::outputs::annotate::{AnnotationLevel, Annotations};
use crate::text;

/// How lines on standard error look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object each.
    Json,
}

/// The format of lines in this process.
#[derive(Debug, Clone, Copy, Default)]
struct Style {
    format: LogFormat,
    annotations: Annotations,
}

static STYLE: OnceLock<Style> = OnceLock::new();

/// Sets the format of lines; only the first call has an effect.
pub(crate) fn configure_log(format: LogFormat, annotations: Annotations) {
    let _ = STYLE.set(Style {
        format,
        annotations,
    });
}

/// Prints a message of one or more lines.
///
/// Errors are ignored: a closed standard error must not fail the command.
pub(crate) fn log_text(text: &str) {
    let style = STYLE.get().copied().unwrap_or_default();
    let _ = writeln!(std::io::stderr().lock(), "{}", style.render(text));
}

/// Whether lines are JSON.
pub(crate) fn is_json() -> bool {
    STYLE
        .get()
        .is_some_and(|style| style.format == LogFormat::Json)
}

/// Escapes text so that neither a terminal nor the job's CI system executes any part of it.
pub(crate) fn escape_controls(text: &str) -> String {
    let style = STYLE.get().copied().unwrap_or_default();
    style.annotations.harmless(text)
}

/// Prints a line without escaping.
pub(crate) fn print_raw(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

impl Style {
    fn render(self, text: &str) -> String {
        if self.format == LogFormat::Text && self.annotations == Annotations::None {
            return self.annotations.harmless(text);
        }
        let lines = split_messages(text).into_iter().filter_map(|lines| {
            let (level, message) = message_level(&lines);
            match self.format {
                LogFormat::Json if message.trim().is_empty() => None,
                LogFormat::Json => Some(log_object(level.into(), &message, Map::new())),
                LogFormat::Text => Some(
                    self.annotations
                        .line(level, &message)
                        .unwrap_or_else(|| self.annotations.harmless(&lines)),
                ),
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Splits text into messages: an indented line belongs to the message before it.
fn split_messages(text: &str) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for line in text.split('\n') {
        match messages.last_mut() {
            Some(last) if line.starts_with("  ") && !last.is_empty() => {
                last.push('\n');
                last.push_str(line);
            }
            _ => messages.push(line.to_owned()),
        }
    }
    messages
}

/// The level that a message states, and the message without it. The name of a cache may come first.
fn message_level(message: &str) -> (AnnotationLevel, String) {
    let named = message
        .split_once(": ")
        .filter(|(name, _)| !name.contains(' '));
    for (word, level) in [
        ("warning: ", AnnotationLevel::Warning),
        ("error: ", AnnotationLevel::Error),
    ] {
        if let Some(rest) = message.strip_prefix(word) {
            return (level, rest.to_owned());
        }
        if let Some((name, rest)) =
            named.and_then(|(name, rest)| Some((name, rest.strip_prefix(word)?)))
        {
            return (level, format!("{name}: {rest}"));
        }
    }
    let rest = message.strip_prefix("note: ").unwrap_or(message);
    (AnnotationLevel::Info, rest.to_owned())
}

impl From<AnnotationLevel> for &'static str {
    fn from(level: AnnotationLevel) -> Self {
        match level {
            AnnotationLevel::Info => "info",
            AnnotationLevel::Warning => "warn",
            AnnotationLevel::Error => "error",
        }
    }
}

fn log_object(level: &str, message: &str, fields: Map<String, Value>) -> String {
    let mut time = String::new();
    // Writing to a `String` cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    let mut object = Map::new();
    object.insert("time".to_owned(), time.into());
    object.insert("level".to_owned(), level.into());
    object.insert("message".to_owned(), message.into());
    object.extend(fields);
    Value::Object(object).to_string()
}

/// Writes the library's log as JSON, in the same format.
pub(crate) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> std::fmt::Result {
        let mut fields = LogFields::default();
        event.record(&mut fields);
        let spans: Vec<Value> = context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root())
            .map(|span| {
                let extensions = span.extensions();
                let fields = extensions.get::<FormattedFields<N>>();
                let fields = fields.map_or("", |fields| fields.fields.as_str());
                format!("{}{{{fields}}}", span.name()).into()
            })
            .collect();
        if !spans.is_empty() {
            fields.others.insert("spans".to_owned(), spans.into());
        }
        let level = event.metadata().level().as_str().to_lowercase();
        writeln!(
            writer,
            "{}",
            log_object(&level, &fields.message, fields.others)
        )
    }
}

#[derive(Default)]
struct LogFields {
    message: String,
    others: Map<String, Value>,
}

impl Visit for LogFields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => drop(self.others.insert(name.to_owned(), text.into())),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => drop(self.others.insert(name.to_owned(), value.into())),
        }
    }
}

/// Prints an error with its hint.
pub(crate) fn print_error(severity: &str, message: &str, hint: Option<&str>) {
    log_text(&text::error_lines(severity, message, hint).join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "hit m2-1: mounted\nmaven: warning: no bucket\n  hint: make one\nnote: x";

    fn style(format: LogFormat, annotations: Annotations) -> Style {
        Style {
            format,
            annotations,
        }
    }

    #[test]
    fn text_is_left_alone() {
        assert_eq!(style(LogFormat::Text, Annotations::None).render(TEXT), TEXT);
    }

    #[test]
    fn warnings_become_annotations() {
        assert_eq!(
            style(LogFormat::Text, Annotations::GitHub).render(TEXT),
            "hit m2-1: mounted\n\
             ::warning title=cachefs::maven: no bucket%0A  hint: make one\n\
             note: x"
        );
    }

    #[test]
    fn each_message_is_an_object() {
        let lines = style(LogFormat::Json, Annotations::GitHub).render(TEXT);
        let objects: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let levels: Vec<_> = objects
            .iter()
            .map(|it| it["level"].as_str().unwrap())
            .collect();
        assert_eq!(levels, ["info", "warn", "info"]);
        assert_eq!(objects[1]["message"], "maven: no bucket\n  hint: make one");
        assert!(objects[0]["time"].as_str().unwrap().ends_with('Z'));
    }
}
