//! The messages about a save.

use cachefs_store::save::{SaveOutcome, SaveReport};

use super::output_prefix;
use super::results::SavedDirectory;
use super::secrets_output;
use crate::failure::CommandFailure;
use crate::output;

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

fn summary_line(saved: &SavedDirectory, report: &SaveReport) -> String {
    let key = match &saved.part {
        None => saved.key().to_owned(),
        Some(part) => format!("{} ({part})", saved.key()),
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
