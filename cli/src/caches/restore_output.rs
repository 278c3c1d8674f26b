//! The messages about a restore.

use cachefs::restore::{NoMount, RestoreOutcome, RestoreReport};
use cachefs_store::refs::{MatchKind, Resolved};

use super::output_prefix;
use super::results::RestoredDirectory;
use crate::failure::CommandFailure;
use crate::hints::word_hint;
use crate::{machine_identity, output};

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
            if let Some(why) = &restored.reason {
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
        restored.key(),
        paths.join(", ")
    )
}

fn skipped_line(restored: &RestoredDirectory) -> String {
    let why = restored.cache.common.no_restore();
    format!(
        "not restored {}: {}",
        restored.key(),
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
    let (key, main) = (restored.key(), restored.main());
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
            .as_ref()
            .map_or_else(|| "run `cachefs doctor` for details".to_owned(), word_hint);
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
