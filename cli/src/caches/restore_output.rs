//! What is printed about a restore.

use cachefs::restore::{NoMount, Outcome, Report};
use cachefs_store::refs::{MatchKind, Resolved, Scope};
use serde::Serialize;
use serde_json::Value;

use super::Restored;
use super::named;
use crate::failure::Failure;
use crate::{machine, output};

/// What is printed with `--format json`.
#[derive(Debug, Serialize)]
struct Printed<'a> {
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
    requests: output::Requests,
    bytes_received: u64,
    /// Of an earlier restore of the path.
    unsaved_changes: u64,
    /// Where they are now; null if they are still at the path, or there are none.
    unsaved_moved_to: Option<String>,
    notes: &'a [String],
}

/// Prints results as JSON: one object when flags described the cache and its one path, otherwise
/// a list.
pub(crate) fn print_json(restored: &[Restored]) -> anyhow::Result<()> {
    let is_alone = |one: &Restored| one.cache.name.is_none() && !one.several;
    named::print(values(restored)?, restored.iter().all(is_alone))
}

/// Each result as JSON.
pub(crate) fn values(restored: &[Restored]) -> serde_json::Result<Vec<Value>> {
    let one = |one: &Restored| match &one.result {
        Ok(report) => serde_json::to_value(printed(one, report)),
        Err(failure) => named::failed(one.cache.name.as_deref(), key(one), &one.path, failure),
    };
    restored.iter().map(one).collect()
}

fn key(restored: &Restored) -> &str {
    let keys = restored.keys.as_ref();
    keys.and_then(|keys| keys.top())
        .map_or("", |key| key.as_str())
}

fn printed<'a>(restored: &'a Restored, report: &'a Report) -> Printed<'a> {
    let main = restored.main();
    Printed {
        cache: restored.cache.name.as_deref(),
        key: key(restored),
        path: output::path(&report.path),
        matched_key: main.map(|resolved| resolved.name.key.as_str()),
        scope: restored.scopes.first().map_or("", Scope::as_str),
        matched_scope: main.map(|resolved| resolved.name.scope.as_str()),
        matched: match main.map(|resolved| &resolved.kind) {
            Some(MatchKind::Exact) => "exact",
            Some(MatchKind::Prefix(_)) => "prefix",
            // It was put back for the very key that it was restored for.
            None if matches!(report.outcome, Outcome::Remounted) => "exact",
            None => "miss",
        },
        result: result(&report.outcome),
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
            .map(output::path),
        notes: &report.notes,
    }
}

/// What came of it, in a word.
pub(super) fn result(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Miss => "miss",
        Outcome::Skipped => "skipped",
        Outcome::Found => "found",
        Outcome::Mounted => "mounted",
        Outcome::AlreadyMounted => "already_mounted",
        Outcome::Remounted => "remounted",
        Outcome::Copied { .. } => "copied",
    }
}

/// What people are told about a restore, line by line.
pub(super) fn lines(restored: &Restored) -> Vec<String> {
    let mut lines = Vec::new();
    match &restored.result {
        Ok(report) => {
            lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
            lines.extend(platform_warning(report));
            lines.push(match report.outcome {
                Outcome::Skipped => skipped(restored),
                Outcome::Miss if restored.several && restored.part.is_none() => missed(restored),
                _ => summary(restored, report),
            });
            if let Some(why) = &restored.why {
                lines.push(format!("  why: {why} (`cachefs explain` says more)"));
            }
            lines.extend(saved_elsewhere(restored, report));
            lines.extend(layers_missing(restored, report));
            lines.extend(copy_issues(report));
        }
        Err(Failure { lines: told, .. }) => lines.extend(told.iter().cloned()),
    }
    named::lines(restored.cache.name.as_deref(), lines)
}

/// A miss of a cache of several paths, of which none is known.
fn missed(restored: &Restored) -> String {
    let paths = restored.cache.paths.iter().map(|path| output::path(path));
    let paths: Vec<_> = paths.filter(|path| !path.starts_with('!')).collect();
    format!(
        "miss {}: no key has any of {}",
        key(restored),
        paths.join(", ")
    )
}

fn skipped(restored: &Restored) -> String {
    let why = restored.cache.common.no_restore();
    format!(
        "not restored {}: {}",
        key(restored),
        why.unwrap_or("nothing was asked for")
    )
}

fn platform_warning(report: &Report) -> Option<String> {
    let here = machine::platform();
    let records = report
        .matched
        .iter()
        .flatten()
        .flat_map(|resolved| &resolved.records);
    let other = records
        .map(|record| &record.platform)
        .find(|platform| **platform != here)?;
    Some(format!(
        "warning: this cache was made on {} {} ({}), and this is {} {} ({}): compiled files in it may not work",
        other.os,
        other.arch,
        other.libc.as_deref().unwrap_or("unknown libc"),
        here.os,
        here.arch,
        here.libc.as_deref().unwrap_or("unknown libc"),
    ))
}

fn summary(restored: &Restored, report: &Report) -> String {
    let (key, main) = (key(restored), restored.main());
    let path = output::path(&report.path);
    let took = output::span(report.elapsed);
    let layers = output::count(report.layers.len() as u64, "layer");
    let size = match report.tree {
        Some(tree) => format!(
            "{layers}, {}, {}",
            output::count(tree.files, "file"),
            output::bytes(tree.bytes)
        ),
        None => layers.clone(),
    };
    let traffic = output::traffic(&report.traffic);
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
            format!(", saved {} by {by}", output::age(record.id.micros))
        })
        .unwrap_or_default();
    match &report.outcome {
        Outcome::Miss | Outcome::Skipped => {
            format!("{matched}: {path} is unchanged ({took}; {traffic})")
        }
        Outcome::Found => {
            format!("{matched}: found for {path}, and not restored ({size}{origin}; {traffic})")
        }
        Outcome::Mounted => {
            format!("{matched}: mounted at {path} in {took} ({size}{origin}; {traffic})")
        }
        Outcome::AlreadyMounted => {
            format!("{matched}: mounted at {path} already ({size}{origin})")
        }
        Outcome::Remounted => format!("remounted at {path} in {took} ({size})"),
        Outcome::Copied { report: copied, .. } => format!(
            "{matched}: copied to {path} in {took} ({layers}, {}, {}{origin}; {traffic})",
            output::count(copied.entries, "entry"),
            output::bytes(copied.bytes),
        ),
    }
}

/// That the key was saved from another path, so that a prefix has found another cache altogether
/// perhaps.
fn saved_elsewhere(restored: &Restored, report: &Report) -> Option<String> {
    let record = restored.main()?.records.last()?;
    let (from, to) = (record.saved_from.as_ref()?, restored.place.as_ref()?);
    let is_shown = !matches!(report.outcome, Outcome::Miss | Outcome::Skipped);
    (is_shown && from != to).then(|| {
        format!(
            "warning: key {} was saved from {from}, and is restored to {to}",
            record.key
        )
    })
}

/// What a copy could not do, and why it is one.
fn copy_issues(report: &Report) -> Vec<String> {
    let Outcome::Copied {
        report: copied,
        instead_of_mount,
    } = &report.outcome
    else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    if let Some(NoMount { why, hint }) = instead_of_mount {
        lines.push(format!(
            "note: copied because mounting is not possible here: {why}"
        ));
        let hint = hint.unwrap_or("`cachefs doctor` says what is missing");
        lines.push(format!(
            "  hint: {hint}; --mode copy chooses this without the note"
        ));
    }
    for issue in copied.issues.iter().take(10) {
        // Of the root, whose path is empty, the place is told.
        let path = match issue.path.as_os_str().is_empty() {
            true => output::path(&report.path),
            false => output::path(&issue.path),
        };
        lines.push(format!("warning: {path}: {}", issue.detail));
    }
    let total = copied.not_created + copied.attributes_lost;
    if total > 10 {
        lines.push(format!("warning: and {} more like these", total - 10));
    }
    lines
}

/// Which layers of the stack were not found, when others were.
fn layers_missing(restored: &Restored, report: &Report) -> Vec<String> {
    let (Some(keys), false) = (&restored.keys, report.layers.is_empty()) else {
        return Vec::new();
    };
    let layers = restored.cache.layers.iter().zip(&keys.layers);
    layers
        .zip(&report.matched)
        .filter(|(_, matched)| matched.is_none())
        .map(|((layer, (key, ..)), _)| {
            format!(
                "warning: layer {} is missing and was left out: no cache has the key {key}",
                layer.name
            )
        })
        .collect()
}
