//! Caches of several paths: which directories a restore has to show, and from which key.

use cachefs_store::refs::{self, CachePart, Chosen, FoundKey, KeyQuery, RefName};
use cachefs_store::remote::DynRemote;

use super::options::{RestoreMode, RestoreOptions};
use crate::error::Result;
use crate::paths::{CacheDirectory, PathSet, Whole};
use crate::rpc::{DaemonClient, FindRequest};
use crate::store_dir::StoreDir;

/// The paths of a cache that its keys contain.
#[derive(Debug, Default)]
pub struct FoundDirectories {
    /// The result for each key.
    pub found: Vec<Option<FoundKey>>,
    /// The directories to restore, none of them inside another, with the value of
    /// [`RestoreOptions::wanted`] for each. All of them come from the keys in `found`.
    pub directories: Vec<(CacheDirectory, Vec<KeyQuery>)>,
}

/// Finds the directories to restore for a cache of several paths.
///
/// `options` are those of a restore; its path is ignored. The keys decide, not the files on disk.
/// One round of requests, whatever the number of directories.
pub fn find_directories(
    store: &StoreDir,
    options: &RestoreOptions,
    paths: &PathSet,
) -> Result<FoundDirectories> {
    let whole = paths.whole();
    let found = if options.mode == RestoreMode::Copy {
        let session = options.session(store)?;
        session.block_on(find_parts(session.remote(), &options.wanted, paths, &whole))?
    } else {
        DaemonClient::connect(store)?.find(FindRequest {
            remote: options.remote.clone(),
            deadline_ms: options.deadline_ms(),
            wanted: options.wanted.clone(),
            paths: paths.spellings(),
            whole_from: whole,
            places: paths.places().clone(),
        })?
    };
    let parts = found.iter().flatten().flat_map(|found| &found.parts);
    let directories = paths
        .directories(parts.cloned())?
        .into_iter()
        .map(|directory| {
            let wanted = choose_parts(&options.wanted, &found, &directory)?;
            Ok((directory, wanted))
        })
        .collect::<Result<_>>()?;
    Ok(FoundDirectories { found, directories })
}

/// Assigns each key its result.
fn choose_parts(
    wanted: &[KeyQuery],
    found: &[Option<FoundKey>],
    directory: &CacheDirectory,
) -> Result<Vec<KeyQuery>> {
    wanted
        .iter()
        .zip(found)
        .map(|(wanted, found)| {
            let chosen = match found {
                Some(found) if found.parts.contains(&directory.part) => {
                    let (scope, key) = (found.scope.clone(), found.key.clone());
                    Chosen::Part {
                        name: match directory.part.clone() {
                            Some(part) => RefName::of_part(scope, key, part)?,
                            None => RefName::new(scope, key),
                        },
                        kind: found.kind.clone(),
                    }
                }
                _ => Chosen::Nothing,
            };
            Ok(KeyQuery {
                chosen: Some(chosen),
                ..wanted.clone()
            })
        })
        .collect()
}

/// Finds, for each key, the best match that holds any of the paths; all at the same time. `whole`
/// says which keys of one path match.
pub(crate) async fn find_parts(
    remote: &DynRemote,
    wanted: &[KeyQuery],
    paths: &PathSet,
    whole: &Whole,
) -> Result<Vec<Option<FoundKey>>> {
    let mut lookups = tokio::task::JoinSet::new();
    for (number, wanted) in wanted.iter().cloned().enumerate() {
        let (remote, paths, whole) = (remote.clone(), paths.clone(), whole.clone());
        lookups.spawn(async move {
            let takes_whole = whole != Whole::No;
            let accepts =
                |part: Option<&CachePart>| part.map_or(takes_whole, |part| paths.accepts(part));
            let is_whole = |record: &refs::RefRecord| match &whole {
                Whole::No => false,
                Whole::Any => true,
                Whole::SavedFrom(place) => record.saved_from == *place,
            };
            (
                number,
                refs::find_key(&remote, &wanted, accepts, is_whole).await,
            )
        });
    }
    let mut found = vec![None; wanted.len()];
    while let Some(joined) = lookups.join_next().await {
        let (number, key) = joined.map_err(|_| cachefs_store::Error::Cancelled)?;
        found[number] = key?;
    }
    Ok(found)
}
