//! The JSON of restores and saves.

use cachefs::restore::RestoreReport;
use cachefs_store::layer::TreeTotals;
use cachefs_store::refs::CachePart;
use cachefs_store::save::SaveReport;
use serde::Serialize;
use serde_json::Value;

use super::result_summary::{CacheReport, summarize_result};
use super::results::DirectoryResult;
use super::secrets_output::{self, PrintedSecret};
use crate::failure::CommandFailure;
use crate::output;
use crate::outputs::{CacheResult, KeyMatch};

/// The members that every result has.
#[derive(Debug, Serialize)]
struct PrintedResult<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'a str>,
    key: &'a str,
    result: &'static str,
    duration_ms: f64,
    requests: output::RequestCounts,
    #[serde(flatten)]
    detail: T,
}

/// The members of a restore.
#[derive(Debug, Serialize)]
pub(crate) struct RestoreDetail<'a> {
    path: &'a str,
    matched_key: Option<&'a str>,
    scope: &'a str,
    matched_scope: Option<&'a str>,
    #[serde(rename = "match")]
    matched: &'static str,
    layers: u64,
    /// Of the tree; null if it is unknown.
    files: Option<u64>,
    bytes: Option<u64>,
    bytes_received: u64,
    /// Number of changes of an earlier restore of the path that no save has taken.
    unsaved_changes: u64,
    /// The directory that they were moved to; null if they are still at the path, or if there are
    /// none.
    unsaved_moved_to: Option<String>,
    notes: &'a [String],
}

/// The members of a save.
#[derive(Debug, Serialize)]
pub(crate) struct SaveDetail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    scope: &'a str,
    layers: u64,
    /// Of the saved directory.
    files: u64,
    bytes: u64,
    added: u64,
    modified: u64,
    removed: u64,
    new_bytes: u64,
    new_raw_bytes: u64,
    skipped: Vec<String>,
    notes: &'a [String],
    secrets: Vec<PrintedSecret<'a>>,
    squashed: Option<usize>,
    merged_saves: usize,
    /// Totals of the key's tree; null if they are unknown.
    tree: Option<TreeTotals>,
    /// When the key expires; null for never.
    #[serde(serialize_with = "crate::json_output::serialize_optional_time")]
    expires_at: Option<u64>,
    bytes_sent: u64,
    bytes_received: u64,
}

/// The members of a failure.
#[derive(Debug, Serialize)]
struct FailureDetail<'a> {
    path: &'a str,
    error: &'a str,
    kind: &'static str,
    hint: Option<&'a str>,
    /// Exit code of the failure; 0 if it was reduced to a warning.
    exit_code: u8,
    retries: u64,
}

/// A report that can be printed as JSON.
pub(crate) trait PrintReport: CacheReport + Sized {
    /// The members of its own.
    type Detail<'a>: Serialize
    where
        Self: 'a;

    /// Selects the members.
    fn detail<'a>(
        &'a self,
        of: &'a DirectoryResult<Self>,
        summary: &'a CacheResult,
    ) -> Self::Detail<'a>;
}

impl PrintReport for RestoreReport {
    type Detail<'a> = RestoreDetail<'a>;

    fn detail<'a>(
        &'a self,
        _: &'a DirectoryResult<Self>,
        summary: &'a CacheResult,
    ) -> RestoreDetail<'a> {
        RestoreDetail {
            path: &summary.path,
            matched_key: summary.matched_key.as_deref(),
            scope: &summary.scope,
            matched_scope: summary.matched_scope.as_deref(),
            matched: match summary.hit {
                Some(KeyMatch::Exact) => "exact",
                Some(KeyMatch::Partial) if summary.matched_key.is_some() => "prefix",
                // Only layers below the key's own were found.
                _ => "miss",
            },
            layers: summary.layers,
            files: self.tree.map(|tree| tree.files),
            bytes: self.tree.map(|tree| tree.bytes),
            bytes_received: self.traffic.bytes_in,
            unsaved_changes: self.unsaved.as_ref().map_or(0, |unsaved| unsaved.changes),
            unsaved_moved_to: self
                .unsaved
                .as_ref()
                .and_then(|unsaved| unsaved.moved_to.as_deref())
                .map(output::format_path),
            notes: &summary.notes,
        }
    }
}

impl PrintReport for SaveReport {
    type Detail<'a> = SaveDetail<'a>;

    fn detail<'a>(
        &'a self,
        of: &'a DirectoryResult<Self>,
        summary: &'a CacheResult,
    ) -> SaveDetail<'a> {
        let (added, modified, removed) = self.changes;
        SaveDetail {
            path: of.part.as_ref().map(CachePart::as_str),
            scope: &summary.scope,
            layers: summary.layers,
            files: self.scanned.0,
            bytes: self.scanned.1,
            added,
            modified,
            removed,
            new_bytes: summary.new_bytes,
            new_raw_bytes: self.new_raw,
            skipped: self
                .skipped
                .iter()
                .map(|skipped| output::format_path(&skipped.path))
                .collect(),
            notes: &summary.notes,
            secrets: secrets_output::printed_secrets(&self.findings),
            squashed: self.squashed,
            merged_saves: self.united,
            tree: self.tree,
            expires_at: self.expires,
            bytes_sent: self.traffic.bytes_out,
            bytes_received: self.traffic.bytes_in,
        }
    }
}

/// Each result as JSON.
pub(crate) fn result_values<R: PrintReport>(
    results: &[DirectoryResult<R>],
) -> serde_json::Result<Vec<Value>> {
    let one = |one: &DirectoryResult<R>| {
        let summary = summarize_result(one);
        match &one.result {
            Ok(report) => printed_value(&summary, report.detail(one, &summary)),
            Err(failure) => printed_value(&summary, failure_detail(&summary, failure)),
        }
    };
    results.iter().map(one).collect()
}

fn printed_value<T: Serialize>(summary: &CacheResult, detail: T) -> serde_json::Result<Value> {
    serde_json::to_value(PrintedResult {
        cache: summary.name.as_deref(),
        key: &summary.key,
        result: summary.result,
        duration_ms: summary.elapsed.as_secs_f64() * 1000.0,
        requests: (&summary.traffic).into(),
        detail,
    })
}

fn failure_detail<'a>(summary: &'a CacheResult, failure: &'a CommandFailure) -> FailureDetail<'a> {
    FailureDetail {
        path: &summary.path,
        error: &failure.message,
        kind: failure.kind,
        hint: failure.hint.as_deref(),
        exit_code: failure.code,
        retries: failure.traffic.retries,
    }
}

/// The JSON of several caches.
#[derive(Debug, Serialize)]
struct PrintedCaches {
    caches: Vec<Value>,
}

/// Prints results as JSON: one object if flags described the cache and its one path, otherwise a
/// list.
pub(crate) fn print_results<R: PrintReport>(results: &[DirectoryResult<R>]) -> anyhow::Result<()> {
    let is_alone = results.iter().all(DirectoryResult::is_alone);
    let mut values = result_values(results)?;
    match values.pop() {
        Some(one) if is_alone && values.is_empty() => output::print_json(&one),
        last => {
            values.extend(last);
            output::print_json(&PrintedCaches { caches: values })
        }
    }
}
