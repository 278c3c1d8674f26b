//! Prints the results of a restore.

use cachefs::restore::{NoMount, RestoreOutcome, RestoreReport};
use cachefs_store::refs::{MatchKind, Resolved, Scope};
use serde::Serialize;
use serde_json::Value;

use super::output_prefix;
use super::results::RestoredDirectory;
use crate::failure::CommandFailure;
use crate::{machine_identity, output};

/// The JSON of a restore.
#[derive(Debug, Serialize)]
struct PrintedRestore<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'a str>,
    key: &'a str,
    path: String,
    matched_key: Option<&'a str>,
    scope: &'a str,
    matched_scope: Option<&'a str>,
    #[serde(rename = "match")]
    matched: &'static str,
    result: &'static str,
    layers: usize,
    /// Of the tree; null when it is not known.
    files: Option<u64>,
    bytes: Option<u64>,
    milliseconds: f64,
    requests: output::RequestCounts,
    bytes_received: u64,
    /// Of an earlier restore of the path.
    unsaved_changes: u64,
    /// Where they are now; null if they are still at the path, or there are none.
    unsaved_moved_to: Option<String>,
    notes: &'a [String],
}

/// Prints results as JSON: one object when flags described the cache and its one path, otherwise
/// a list.
pub(crate) fn print_json(restored: &[RestoredDirectory]) -> anyhow::Result<()> {
    let is_alone = |one: &RestoredDirectory| one.cache.name.is_none() && !one.several;
    output_prefix::print_results(restore_values(restored)?, restored.iter().all(is_alone))
}

/// Each result as JSON.
pub(crate) fn restore_values(restored: &[RestoredDirectory]) -> serde_json::Result<Vec<Value>> {
    let one = |one: &RestoredDirectory| match &one.result {
        Ok(report) => serde_json::to_value(printed_restore(one, report)),
        Err(failure) => output_prefix::failed_value(
            one.cache.name.as_deref(),
            wanted_key(one),
            &one.path,
            failure,
        ),
    };
    restored.iter().map(one).collect()
}

fn wanted_key(restored: &RestoredDirectory) -> &str {
    let keys = restored.keys.as_ref();
    keys.and_then(|keys| keys.top())
        .map_or("", |key| key.as_str())
}

fn printed_restore<'a>(
    restored: &'a RestoredDirectory,
    report: &'a RestoreReport,
) -> PrintedRestore<'a> {
    let main = restored.main();
    PrintedRestore {
        cache: restored.cache.name.as_deref(),
        key: wanted_key(restored),
        path: output::format_path(&report.path),
        matched_key: main.map(|resolved| resolved.name.key.as_str()),
        scope: restored.scopes.first().map_or("", Scope::as_str),
        matched_scope: main.map(|resolved| resolved.name.scope.as_str()),
        matched: match main.map(|resolved| &resolved.kind) {
            Some(MatchKind::Exact) => "exact",
            Some(MatchKind::Prefix(_)) => "prefix",
            // It was mounted again for the exact key that it was restored for.
            None if matches!(report.outcome, RestoreOutcome::Remounted) => "exact",
            None => "miss",
        },
        result: outcome_word(&report.outcome),
        layers: report.layers.len(),
        files: report.tree.map(|tree| tree.files),
        bytes: report.tree.map(|tree| tree.bytes),
        milliseconds: report.elapsed.as_secs_f64() * 1000.0,
        requests: (&report.traffic).into(),
        bytes_received: report.traffic.bytes_in,
        unsaved_changes: report.unsaved.as_ref().map_or(0, |unsaved| unsaved.changes),
        unsaved_moved_to: report
            .unsaved
            .as_ref()
            .and_then(|unsaved| unsaved.moved_to.as_deref())
            .map(output::format_path),
        notes: &report.notes,
    }
}

/// Short name of the result.
pub(super) fn outcome_word(outcome: &RestoreOutcome) -> &'static str {
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

/// The messages about a restore, line by line.
pub(super) fn restore_lines(restored: &RestoredDirectory) -> Vec<String> {
    let mut lines = Vec::new();
    match &restored.result {
        Ok(report) => {
            lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
            lines.extend(platform_warning(report));
            lines.push(match report.outcome {
                RestoreOutcome::Skipped => skipped_line(restored),
                RestoreOutcome::Miss if restored.several && restored.part.is_none() => {
                    missed_line(restored)
                }
                _ => summary_line(restored, report),
            });
            if let Some(why) = &restored.why {
                lines.push(format!("  reason: {why} (details: `cachefs explain`)"));
            }
            lines.extend(saved_elsewhere(restored, report));
            lines.extend(layers_missing(restored, report));
            lines.extend(copy_issues(report));
        }
        Err(CommandFailure { lines: told, .. }) => lines.extend(told.iter().cloned()),
    }
    output_prefix::prefix_lines(restored.cache.name.as_deref(), lines)
}

/// A miss of a cache of several paths, of which none is known.
fn missed_line(restored: &RestoredDirectory) -> String {
    let paths = restored
        .cache
        .paths
        .iter()
        .map(|path| output::format_path(path));
    let paths: Vec<_> = paths.filter(|path| !path.starts_with('!')).collect();
    format!(
        "miss {}: no key has data for {}",
        wanted_key(restored),
        paths.join(", ")
    )
}

fn skipped_line(restored: &RestoredDirectory) -> String {
    let why = restored.cache.common.no_restore();
    format!(
        "not restored {}: {}",
        wanted_key(restored),
        why.unwrap_or("nothing was asked for")
    )
}

fn platform_warning(report: &RestoreReport) -> Option<String> {
    let here = machine_identity::current_platform();
    let records = report
        .matched
        .iter()
        .flatten()
        .flat_map(|resolved| &resolved.records);
    let other = records
        .map(|record| &record.platform)
        .find(|platform| **platform != here)?;
    Some(format!(
        "warning: this cache was saved on {} {} ({}), but this machine is {} {} ({}): compiled files may not work",
        other.os,
        other.arch,
        other.libc.as_deref().unwrap_or("unknown libc"),
        here.os,
        here.arch,
        here.libc.as_deref().unwrap_or("unknown libc"),
    ))
}

fn summary_line(restored: &RestoredDirectory, report: &RestoreReport) -> String {
    let (key, main) = (wanted_key(restored), restored.main());
    let path = output::format_path(&report.path);
    let took = output::format_span(report.elapsed);
    let layers = output::format_count(report.layers.len() as u64, "layer");
    let size = match report.tree {
        Some(tree) => format!(
            "{layers}, {}, {}",
            output::format_count(tree.files, "file"),
            output::format_bytes(tree.bytes)
        ),
        None => layers.clone(),
    };
    let traffic = output::format_traffic(&report.traffic);
    let matched = match main {
        Some(Resolved {
            kind: MatchKind::Exact,
            ..
        }) => format!("hit {key}"),
        Some(
            resolved @ Resolved {
                kind: MatchKind::Prefix(prefix),
                ..
            },
        ) => {
            format!(
                "partial hit {} (prefix {prefix}; no {key})",
                resolved.name.key
            )
        }
        None if report.layers.is_empty() => format!("miss {key}"),
        None => format!("miss {key}, lower layers found"),
    };
    let elsewhere = main
        .map(|resolved| &resolved.name.scope)
        .filter(|scope| restored.scopes.first() != Some(scope))
        .map(|scope| format!(" in scope {scope}"))
        .unwrap_or_default();
    let matched = matched + &elsewhere;
    let origin = main
        .and_then(|resolved| resolved.records.last())
        .map(|record| {
            let by = record
                .creator
                .job
                .as_deref()
                .unwrap_or(&record.creator.host);
            format!(", saved {} by {by}", output::format_age(record.id.micros))
        })
        .unwrap_or_default();
    match &report.outcome {
        RestoreOutcome::Miss | RestoreOutcome::Skipped => {
            format!("{matched}: {path} is unchanged ({took}; {traffic})")
        }
        RestoreOutcome::Found => {
            format!("{matched}: found for {path}, not restored ({size}{origin}; {traffic})")
        }
        RestoreOutcome::Mounted => {
            format!("{matched}: mounted at {path} in {took} ({size}{origin}; {traffic})")
        }
        RestoreOutcome::AlreadyMounted => {
            format!("{matched}: already mounted at {path} ({size}{origin})")
        }
        RestoreOutcome::Remounted => format!("remounted at {path} in {took} ({size})"),
        RestoreOutcome::Copied { report: copied, .. } => format!(
            "{matched}: copied to {path} in {took} ({layers}, {}, {}{origin}; {traffic})",
            output::format_count(copied.entries, "entry"),
            output::format_bytes(copied.bytes),
        ),
    }
}

/// That the key was saved from another path, so that a prefix has found another cache altogether
/// perhaps.
fn saved_elsewhere(restored: &RestoredDirectory, report: &RestoreReport) -> Option<String> {
    let record = restored.main()?.records.last()?;
    let (from, to) = (record.saved_from.as_ref()?, restored.place.as_ref()?);
    let is_shown = !matches!(
        report.outcome,
        RestoreOutcome::Miss | RestoreOutcome::Skipped
    );
    (is_shown && from != to).then(|| {
        format!(
            "warning: key {} was saved from {from}, but is restored to {to}",
            record.key
        )
    })
}

/// Problems of a copy, and the reason why it is one.
fn copy_issues(report: &RestoreReport) -> Vec<String> {
    let RestoreOutcome::Copied {
        report: copied,
        instead_of_mount,
    } = &report.outcome
    else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    if let Some(NoMount { why, hint }) = instead_of_mount {
        lines.push(format!(
            "note: copied, because this machine cannot mount: {why}"
        ));
        let hint = hint
            .as_deref()
            .unwrap_or("run `cachefs doctor` for details");
        lines.push(format!("  hint: {hint}; --mode copy suppresses this note"));
    }
    for issue in copied.issues.iter().take(10) {
        // The root has an empty path, so its place is printed instead.
        let path = match issue.path.as_os_str().is_empty() {
            true => output::format_path(&report.path),
            false => output::format_path(&issue.path),
        };
        lines.push(format!("warning: {path}: {}", issue.detail));
    }
    let total = copied.not_created + copied.attributes_lost;
    if total > 10 {
        lines.push(format!("warning: and {} more", total - 10));
    }
    lines
}

/// Which layers of the stack were not found, when others were.
fn layers_missing(restored: &RestoredDirectory, report: &RestoreReport) -> Vec<String> {
    let (Some(keys), false) = (&restored.keys, report.layers.is_empty()) else {
        return Vec::new();
    };
    let layers = restored.cache.layers.iter().zip(&keys.layers);
    layers
        .zip(&report.matched)
        .filter(|(_, matched)| matched.is_none())
        .map(|((layer, (key, ..)), _)| {
            format!(
                "warning: skipped the missing layer {}: no cache has the key {key}",
                layer.name
            )
        })
        .collect()
}
