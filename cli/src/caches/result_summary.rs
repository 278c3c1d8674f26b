//! The values of a result that JSON, CI outputs and metrics have in common.

use std::time::Duration;

use cachefs::restore::{RestoreOutcome, RestoreReport};
use cachefs_store::refs::{MatchKind, Scope};
use cachefs_store::remote::RemoteTraffic;
use cachefs_store::save::{SaveOutcome, SaveReport};

use super::results::DirectoryResult;
use crate::output;
use crate::outputs::{CacheAction, CacheResult, KeyMatch};

/// A report of the library on one directory.
pub(crate) trait CacheReport {
    /// The operation.
    const ACTION: CacheAction;

    /// Completes a summary that has only the values of the directory.
    fn complete_summary(&self, summary: &mut CacheResult);
}

/// Summarizes a result.
pub(super) fn summarize_result<R: CacheReport>(one: &DirectoryResult<R>) -> CacheResult {
    let mut summary = CacheResult {
        action: R::ACTION,
        name: one.cache.name.clone(),
        key: one.key().to_owned(),
        scope: one
            .scopes
            .first()
            .map_or_else(String::new, Scope::to_string),
        path: output::format_path(&one.path),
        hit: None,
        matched_key: None,
        matched_scope: None,
        result: "failed",
        layers: 0,
        tree: None,
        new_bytes: 0,
        elapsed: Duration::ZERO,
        traffic: RemoteTraffic::default(),
        remark: one.reason.clone(),
        notes: Vec::new(),
    };
    match &one.result {
        Ok(report) => report.complete_summary(&mut summary),
        Err(failure) => {
            summary.remark = Some(failure.message.clone());
            summary.elapsed = failure.elapsed;
            summary.traffic = failure.traffic;
        }
    }
    summary
}

impl CacheReport for RestoreReport {
    const ACTION: CacheAction = CacheAction::Restore;

    fn complete_summary(&self, summary: &mut CacheResult) {
        let main = self.matched.last().and_then(Option::as_ref);
        summary.hit = Some(match main.map(|found| &found.kind) {
            Some(MatchKind::Exact) => KeyMatch::Exact,
            Some(MatchKind::Prefix(_)) => KeyMatch::Partial,
            // It was mounted again for the exact key that it was restored for.
            None if matches!(self.outcome, RestoreOutcome::Remounted) => KeyMatch::Exact,
            None if self.layers.is_empty() => KeyMatch::Miss,
            None => KeyMatch::Partial,
        });
        summary.path = output::format_path(&self.path);
        summary.matched_key = main.map(|found| found.name.key.to_string());
        summary.matched_scope = main.map(|found| found.name.scope.to_string());
        summary.result = restore_word(&self.outcome);
        summary.layers = self.layers.len() as u64;
        summary.tree = self.tree;
        summary.elapsed = self.elapsed;
        summary.traffic = self.traffic;
        summary.notes.clone_from(&self.notes);
    }
}

fn restore_word(outcome: &RestoreOutcome) -> &'static str {
    match outcome {
        RestoreOutcome::Miss => "miss",
        RestoreOutcome::Skipped => "skipped",
        RestoreOutcome::Found => "found",
        RestoreOutcome::Mounted => "mounted",
        RestoreOutcome::AlreadyMounted => "already_mounted",
        RestoreOutcome::Remounted => "remounted",
        RestoreOutcome::Copied { .. } => "copied",
    }
}

impl CacheReport for SaveReport {
    const ACTION: CacheAction = CacheAction::Save;

    fn complete_summary(&self, summary: &mut CacheResult) {
        summary.result = save_word(&self.outcome);
        summary.layers = self.layers.len() as u64;
        summary.tree = self.tree;
        if let SaveOutcome::Saved(layer) = &self.outcome {
            summary.new_bytes = layer.new_bytes;
        }
        summary.remark.clone_from(&self.warning);
        summary.elapsed = self.elapsed;
        summary.traffic = self.traffic;
        summary.notes = self.warning.iter().chain(&self.notes).cloned().collect();
    }
}

fn save_word(outcome: &SaveOutcome) -> &'static str {
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
