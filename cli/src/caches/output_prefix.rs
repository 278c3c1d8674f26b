//! Output of several caches: every line and every object says which one it is about.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::failure::CommandFailure;
use crate::output;

/// The JSON of a failed cache.
#[derive(Debug, Serialize)]
struct PrintedFailure<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'a str>,
    key: &'a str,
    path: String,
    result: &'static str,
    error: &'a str,
    kind: &'static str,
    hint: Option<&'a str>,
    /// Exit code of the failure; 0 if it was reduced to a warning.
    exit_code: u8,
    milliseconds: f64,
    requests: output::RequestCounts,
    retries: u64,
}

/// The JSON of several caches.
#[derive(Debug, Serialize)]
struct PrintedCaches {
    caches: Vec<Value>,
}

/// The lines, each with the cache's name as a prefix if it has one.
pub(super) fn prefix_lines(name: Option<&str>, lines: Vec<String>) -> Vec<String> {
    match name {
        Some(name) => lines
            .into_iter()
            .map(|line| format!("{name}: {line}"))
            .collect(),
        None => lines,
    }
}

/// A cache that failed, as JSON.
pub(super) fn failed_value(
    cache: Option<&str>,
    key: &str,
    path: &Path,
    failure: &CommandFailure,
) -> serde_json::Result<Value> {
    serde_json::to_value(PrintedFailure {
        cache,
        key,
        path: output::format_path(path),
        result: "failed",
        error: &failure.message,
        kind: failure.kind,
        hint: failure.hint.as_deref(),
        exit_code: failure.code,
        milliseconds: failure.elapsed.as_secs_f64() * 1000.0,
        requests: (&failure.traffic).into(),
        retries: failure.traffic.retries,
    })
}

/// Prints one object: that of the only result if flags described its cache, otherwise a list.
pub(super) fn print_results(mut results: Vec<Value>, alone: bool) -> anyhow::Result<()> {
    match results.pop() {
        Some(one) if alone && results.is_empty() => output::print_json(&one),
        last => {
            results.extend(last);
            output::print_json(&PrintedCaches { caches: results })
        }
    }
}
