//! Prints the results of a save.

use cachefs_store::layer::TreeTotals;
use cachefs_store::refs::CachePart;
use cachefs_store::save::{SaveOutcome, SaveReport};
use serde::Serialize;
use serde_json::Value;

use super::output_prefix;
use super::results::SavedDirectory;
use super::secrets_output;
use crate::failure::CommandFailure;
use crate::output;

/// The JSON of a save.
#[derive(Debug, Serialize)]
struct PrintedSave<'a> {
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
    secrets: Vec<secrets_output::PrintedSecret<'a>>,
    squashed: Option<usize>,
    united: usize,
    /// Totals of the key's tree; null if they are unknown.
    tree: Option<TreeTotals>,
    /// When the key expires; null for never.
    expires_micros: Option<u64>,
    milliseconds: f64,
    requests: output::RequestCounts,
    bytes_sent: u64,
    bytes_received: u64,
}

/// Prints results as JSON: one object when flags described the cache and its one path, otherwise
/// a list.
pub(crate) fn print_json(saved: &[SavedDirectory]) -> anyhow::Result<()> {
    let is_alone = |one: &SavedDirectory| one.cache.name.is_none() && !one.several;
    output_prefix::print_results(save_values(saved)?, saved.iter().all(is_alone))
}

/// Each result as JSON.
pub(crate) fn save_values(saved: &[SavedDirectory]) -> serde_json::Result<Vec<Value>> {
    let one = |one: &SavedDirectory| match &one.result {
        Ok(report) => serde_json::to_value(printed_save(one, report)),
        Err(failure) => output_prefix::failed_value(
            one.cache.name.as_deref(),
            saved_key(one),
            &one.path,
            failure,
        ),
    };
    saved.iter().map(one).collect()
}

fn saved_key(saved: &SavedDirectory) -> &str {
    saved.key().map_or("", |key| key.as_str())
}

fn printed_save<'a>(saved: &'a SavedDirectory, report: &'a SaveReport) -> PrintedSave<'a> {
    PrintedSave {
        cache: saved.cache.name.as_deref(),
        key: saved_key(saved),
        path: saved.part.as_ref().map(CachePart::as_str),
        scope: saved.scope.as_str(),
        result: outcome_word(&report.outcome),
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
            .map(|skipped| output::format_path(&skipped.path))
            .collect(),
        notes: report
            .warning
            .iter()
            .chain(&report.notes)
            .map(String::as_str)
            .collect(),
        secrets: secrets_output::printed_secrets(&report.findings),
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

/// Short name of the result.
pub(super) fn outcome_word(outcome: &SaveOutcome) -> &'static str {
    match outcome {
        SaveOutcome::Unchanged => "unchanged",
        SaveOutcome::Skipped => "skipped",
        SaveOutcome::Kept => "kept",
        SaveOutcome::Empty => "empty",
        SaveOutcome::Linked => "linked",
        SaveOutcome::Saved(_) => "saved",
        SaveOutcome::WouldSave => "would_save",
        SaveOutcome::Refused => "refused",
    }
}

/// The messages about a save, line by line.
pub(super) fn save_lines(saved: &SavedDirectory, verbose: bool) -> Vec<String> {
    let mut lines = Vec::new();
    match &saved.result {
        Ok(report) => {
            for skipped in report.skipped.iter().take(10) {
                lines.push(format!(
                    "note: skipped {} ({})",
                    output::format_path(&skipped.path),
                    skipped.what
                ));
            }
            if report.skipped.len() > 10 {
                lines.push(format!("note: and {} more", report.skipped.len() - 10));
            }
            lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
            lines.extend(report.warning.as_ref().map(|it| format!("warning: {it}")));
            lines.extend(secrets_output::secret_lines(report, verbose));
            lines.push(summary_line(saved, report));
            lines.extend(key_lines(report));
        }
        Err(CommandFailure { lines: told, .. }) => lines.extend(told.iter().cloned()),
    }
    output_prefix::prefix_lines(saved.cache.name.as_deref(), lines)
}

fn new_bytes(report: &SaveReport) -> u64 {
    match &report.outcome {
        SaveOutcome::Saved(layer) => layer.new_bytes,
        _ => 0,
    }
}

fn summary_line(saved: &SavedDirectory, report: &SaveReport) -> String {
    let key = match &saved.part {
        None => saved_key(saved).to_owned(),
        Some(part) => format!("{} ({part})", saved_key(saved)),
    };
    let took = output::format_span(report.elapsed);
    let traffic = output::format_traffic(&report.traffic);
    let (added, modified, removed) = report.changes;
    let changes = format!("{added} added, {modified} modified, {removed} removed");
    let looked_at = format!(
        "{}, {}",
        output::format_count(report.scanned.0, "file"),
        output::format_bytes(report.scanned.1)
    );
    match &report.outcome {
        SaveOutcome::Unchanged => {
            format!("unchanged {key}: nothing to save ({looked_at} scanned in {took}; {traffic})")
        }
        SaveOutcome::Skipped => format!(
            "not saved {key}: {}",
            saved
                .cache
                .common
                .no_save()
                .unwrap_or("nothing was asked for")
        ),
        SaveOutcome::Empty => format!(
            "not saved {key}: no files in {} (--allow-empty saves it anyway)",
            output::format_path(&saved.path)
        ),
        SaveOutcome::Kept => format!(
            "not saved {key}: it already exists, and --save-if missing keeps it ({took}; {traffic})"
        ),
        SaveOutcome::Linked => format!(
            "saved {key}: the remote already has its content, nothing to upload ({took}; {traffic})"
        ),
        SaveOutcome::WouldSave => format!(
            "would save {key}: {changes}; {} of new data before compression ({looked_at} scanned in {took})",
            output::format_bytes(report.new_raw)
        ),
        SaveOutcome::Refused => format!(
            "not saved {key}: --secrets is `fail` ({looked_at} scanned in {took}; {traffic})"
        ),
        SaveOutcome::Saved(layer) => format!(
            "saved {key}: {changes}, {} new as layer {} ({looked_at} scanned in {took}; {traffic})",
            output::format_bytes(layer.new_bytes),
            report.layers.len(),
        ),
    }
}

/// Messages about other changes of the key.
fn key_lines(report: &SaveReport) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(expires) = report.expires {
        lines.push(format!(
            "note: the key expires {}, unless it is saved again",
            output::format_until(expires)
        ));
    }
    if report.united > 0 {
        lines.push(format!(
            "note: merged {} of other jobs under this key",
            output::format_count(report.united as u64, "save")
        ));
    }
    if let Some(layers) = report.squashed {
        lines.push(format!(
            "note: {layers} layers were squashed into one; no data was rewritten"
        ));
    }
    lines
}
