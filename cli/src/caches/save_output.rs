//! What is printed about a save.

use cachefs::save::{Outcome, Report};
use cachefs_store::layer::Totals;
use cachefs_store::refs::Part;
use serde::Serialize;
use serde_json::Value;

use super::Saved;
use super::named;
use super::secrets_output;
use crate::failure::Failure;
use crate::output;

/// What is printed with `--format json`.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'a str>,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    scope: &'a str,
    result: &'static str,
    layers: usize,
    files: u64,
    bytes: u64,
    added: u64,
    modified: u64,
    removed: u64,
    new_bytes: u64,
    new_raw_bytes: u64,
    skipped: Vec<String>,
    notes: Vec<&'a str>,
    secrets: Vec<secrets_output::Printed<'a>>,
    squashed: Option<usize>,
    united: usize,
    /// What the key's tree adds up to; null when it is not known.
    tree: Option<Totals>,
    /// When the key expires; null for never.
    expires_micros: Option<u64>,
    milliseconds: f64,
    requests: output::Requests,
    bytes_sent: u64,
    bytes_received: u64,
}

/// Prints results as JSON: one object when flags described the cache and its one path, otherwise
/// a list.
pub(crate) fn print_json(saved: &[Saved]) -> anyhow::Result<()> {
    let is_alone = |one: &Saved| one.cache.name.is_none() && !one.several;
    named::print(values(saved)?, saved.iter().all(is_alone))
}

/// Each result as JSON.
pub(crate) fn values(saved: &[Saved]) -> serde_json::Result<Vec<Value>> {
    let one = |one: &Saved| match &one.result {
        Ok(report) => serde_json::to_value(printed(one, report)),
        Err(failure) => named::failed(one.cache.name.as_deref(), key(one), &one.path, failure),
    };
    saved.iter().map(one).collect()
}

fn key(saved: &Saved) -> &str {
    saved.key().map_or("", |key| key.as_str())
}

fn printed<'a>(saved: &'a Saved, report: &'a Report) -> Printed<'a> {
    Printed {
        cache: saved.cache.name.as_deref(),
        key: key(saved),
        path: saved.part.as_ref().map(Part::as_str),
        scope: saved.scope.as_str(),
        result: result(&report.outcome),
        layers: report.layers.len(),
        files: report.scanned.0,
        bytes: report.scanned.1,
        added: report.changes.0,
        modified: report.changes.1,
        removed: report.changes.2,
        new_bytes: new_bytes(report),
        new_raw_bytes: report.new_raw,
        skipped: report
            .skipped
            .iter()
            .map(|skipped| output::path(&skipped.path))
            .collect(),
        notes: report
            .warning
            .iter()
            .chain(&report.notes)
            .map(String::as_str)
            .collect(),
        secrets: secrets_output::printed(&report.findings),
        squashed: report.squashed,
        united: report.united,
        tree: report.tree,
        expires_micros: report.expires,
        milliseconds: report.elapsed.as_secs_f64() * 1000.0,
        requests: (&report.traffic).into(),
        bytes_sent: report.traffic.bytes_out,
        bytes_received: report.traffic.bytes_in,
    }
}

/// What came of it, in a word.
pub(super) fn result(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Unchanged => "unchanged",
        Outcome::Skipped => "skipped",
        Outcome::Kept => "kept",
        Outcome::Empty => "empty",
        Outcome::Linked => "linked",
        Outcome::Saved(_) => "saved",
        Outcome::WouldSave => "would_save",
        Outcome::Refused => "refused",
    }
}

/// What people are told about a save, line by line.
pub(super) fn lines(saved: &Saved, verbose: bool) -> Vec<String> {
    let mut lines = Vec::new();
    match &saved.result {
        Ok(report) => {
            for skipped in report.skipped.iter().take(10) {
                lines.push(format!(
                    "note: skipped {} ({})",
                    output::path(&skipped.path),
                    skipped.what
                ));
            }
            if report.skipped.len() > 10 {
                lines.push(format!("note: and {} more", report.skipped.len() - 10));
            }
            lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
            lines.extend(report.warning.as_ref().map(|it| format!("warning: {it}")));
            lines.extend(secrets_output::lines(report, verbose));
            lines.push(summary(saved, report));
            lines.extend(after(report));
        }
        Err(Failure { lines: told, .. }) => lines.extend(told.iter().cloned()),
    }
    named::lines(saved.cache.name.as_deref(), lines)
}

fn new_bytes(report: &Report) -> u64 {
    match &report.outcome {
        Outcome::Saved(layer) => layer.new_bytes,
        _ => 0,
    }
}

fn summary(saved: &Saved, report: &Report) -> String {
    let key = match &saved.part {
        None => key(saved).to_owned(),
        Some(part) => format!("{} ({part})", key(saved)),
    };
    let took = output::span(report.elapsed);
    let traffic = output::traffic(&report.traffic);
    let (added, modified, removed) = report.changes;
    let changes = format!("{added} added, {modified} modified, {removed} removed");
    let looked_at = format!(
        "{}, {}",
        output::count(report.scanned.0, "file"),
        output::bytes(report.scanned.1)
    );
    match &report.outcome {
        Outcome::Unchanged => {
            format!("unchanged {key}: nothing to save ({looked_at} looked at in {took}; {traffic})")
        }
        Outcome::Skipped => format!(
            "not saved {key}: {}",
            saved
                .cache
                .common
                .no_save()
                .unwrap_or("nothing was asked for")
        ),
        Outcome::Empty => format!(
            "not saved {key}: there are no files in {} (--allow-empty saves it all the same)",
            output::path(&saved.path)
        ),
        Outcome::Kept => format!(
            "not saved {key}: it exists already, and --save-if missing keeps it ({took}; {traffic})"
        ),
        Outcome::Linked => format!(
            "saved {key}: its content is there already, nothing to store ({took}; {traffic})"
        ),
        Outcome::WouldSave => format!(
            "would save {key}: {changes}; {} of new data before compression ({looked_at} looked at in {took})",
            output::bytes(report.new_raw)
        ),
        Outcome::Refused => format!(
            "not saved {key}: --secrets is `fail` ({looked_at} looked at in {took}; {traffic})"
        ),
        Outcome::Saved(layer) => format!(
            "saved {key}: {changes}, {} new as layer {} ({looked_at} looked at in {took}; {traffic})",
            output::bytes(layer.new_bytes),
            report.layers.len(),
        ),
    }
}

/// What else happened to the key.
fn after(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(expires) = report.expires {
        lines.push(format!(
            "note: the key expires {}, unless it is saved again",
            output::until(expires)
        ));
    }
    if report.united > 0 {
        lines.push(format!(
            "note: {} of other jobs under this key became part of it",
            output::count(report.united as u64, "save")
        ));
    }
    if let Some(layers) = report.squashed {
        lines.push(format!(
            "note: {layers} layers were squashed into one; no data was rewritten"
        ));
    }
    lines
}
