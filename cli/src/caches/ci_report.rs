//! Passes results on to CI systems, and to a later `explain`.

use cachefs::restore::RestoreOutcome;
use cachefs::{LastRestore, Sought, StoreDir};
use cachefs_store::id::SaveId;
use cachefs_store::refs::{KeyQuery, MatchKind, Scope};
use cachefs_store::remote::RemoteSpec;
use cachefs_store::session::Session;

use super::cache::{ExpandedKeys, ResolvedCache};
use super::result_summary::{CacheReport, summarize_result};
use super::results::{DirectoryResult, RestoredDirectory};
use crate::global::Global;
use crate::keys::KeyPart;
use crate::outputs::write_outputs;
use crate::{explain, output};

/// The query for the key on top of a cache's stack, and the inputs of the key.
pub(crate) fn key_query(
    cache: &ResolvedCache,
    keys: &ExpandedKeys,
    scopes: &[Scope],
) -> Option<(KeyQuery, Vec<KeyPart>)> {
    let wanted = keys.wanted(cache, scopes).pop()?;
    let layer = keys.layers.last().map(|(_, expanded, _)| expanded);
    let expanded = keys.main.as_ref().map(|(_, expanded)| expanded).or(layer)?;
    Some((wanted, expanded.parts.clone()))
}

/// Short reason why a restore did not find the exact key. A miss is worth a few more requests; a
/// partial match is explained by its record.
pub(super) fn explain_miss(
    global: &Global,
    store: &StoreDir,
    remote: &RemoteSpec,
    restored: &RestoredDirectory,
) -> Option<String> {
    let (Ok(report), Some(keys)) = (&restored.result, &restored.keys) else {
        return None;
    };
    if matches!(
        report.outcome,
        RestoreOutcome::Remounted | RestoreOutcome::Skipped
    ) {
        return None;
    }
    let (cache, scopes) = (&restored.cache, &restored.scopes);
    let (wanted, parts) = key_query(cache, keys, scopes)?;
    let brief = match report.matched.last().and_then(Option::as_ref) {
        Some(found) if found.kind == MatchKind::Exact => None,
        Some(found) => explain::of_match(&parts, found.records.last()?),
        // The credentials for it are the daemon's.
        None if global.daemon.is_some() => None,
        None => {
            let session = Session::open(store.local(), remote, global.timeout).ok()?;
            session.block_on(explain::of_miss(session.remote(), &wanted, &parts))
        }
    };
    brief.map(|brief| brief.line)
}

/// Remembers the queries for `explain`. A failure is only logged.
pub(super) fn remember_restores(store: &StoreDir, remote: &RemoteSpec, all: &[RestoredDirectory]) {
    let caches = all.iter().filter_map(|one| {
        let (wanted, parts) = key_query(&one.cache, one.keys.as_ref()?, &one.scopes)?;
        let report = one.result.as_ref().ok();
        let unsaved = report.and_then(|report| report.unsaved.as_ref());
        Some(Sought {
            name: one.cache.name.clone(),
            path: output::format_path(&one.path),
            remote: remote.url.clone(),
            wanted,
            parts: serde_json::to_value(parts).unwrap_or_default(),
            matched: one.main().map(|found| found.name.clone()),
            unsaved_changes: unsaved.map_or(0, |unsaved| unsaved.changes),
            unsaved_moved_to: unsaved
                .and_then(|unsaved| unsaved.moved_to.as_deref())
                .map(output::format_path),
        })
    });
    let last = LastRestore {
        micros: SaveId::now().micros,
        caches: caches.collect(),
    };
    if let Err(error) = last.write(store) {
        tracing::info!("{}", cachefs::describe_chain(&error));
    }
}

/// Writes the CI outputs of restores or saves.
pub(super) fn report_results<R: CacheReport>(global: &Global, all: &[DirectoryResult<R>]) {
    let results: Vec<_> = all.iter().map(summarize_result).collect();
    write_outputs(&global.told(|name| std::env::var(name).ok()), &results);
}
