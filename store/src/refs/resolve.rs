//! From the keys a user wants to the stack of layers that serves them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::name::{RefName, Scope, listing_prefix, parse_listing};
use super::query::{Chosen, KeyQuery, MatchKind, Resolved};
use super::record::{MAX_RECORD, RefRecord};
use super::unite::{superseded_saves, unite_records};
use crate::error::{Error, Result};
use crate::id::SaveId;
use crate::remote::{DynRemote, ObjectInfo, RemoteErrorKind};
use crate::task::{WIDTH, join_all};

/// Largest size of all records of one key in bytes; a record takes some hundred bytes for each
/// layer.
const MAX_RECORDS: u64 = 64 << 20;

/// A key in a listing, or one of its parts, with its saves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// The key.
    pub name: RefName,
    /// Its saves, oldest first.
    pub saves: Vec<SaveId>,
    /// Time of the newest record in microseconds since 1970; see [`saved_micros`].
    pub newest: u64,
}

/// Time of a listed save in microseconds since 1970: the time in its name, which comes from the
/// saver's clock, but no later than the store received it, and not in the future.
///
/// So if the clock of a saver is ahead, its save is the newest of a prefix only until the next
/// save.
pub fn saved_micros(save: &SaveId, object: &ObjectInfo) -> u64 {
    let received = object.modified.unwrap_or(u64::MAX);
    save.micros.min(received).min(SaveId::now().micros)
}

/// Lists keys that start with `prefix`, the one with the newest save first. Each part of a key is
/// an entry of its own.
pub async fn list_keys(remote: &DynRemote, scope: &Scope, prefix: &str) -> Result<Vec<ListedKey>> {
    Ok(group_saves(
        &remote.list(&listing_prefix(scope, prefix)).await?,
    ))
}

/// Groups the saves by name, and sorts the names by their newest saves. Empty objects are records
/// that a power cut truncated, and count as absent.
pub(super) fn group_saves(objects: &[ObjectInfo]) -> Vec<ListedKey> {
    let mut keys: BTreeMap<RefName, Vec<(u64, SaveId)>> = BTreeMap::new();
    for object in objects.iter().filter(|object| object.size > 0) {
        if let Some((name, save)) = parse_listing(&object.key) {
            let saves = keys.entry(name).or_default();
            saves.push((saved_micros(&save, object), save));
        }
    }
    let mut listed: Vec<_> = keys
        .into_iter()
        .map(|(name, mut saves)| {
            saves.sort();
            ListedKey {
                name,
                newest: saves.last().map_or(0, |(written, _)| *written),
                saves: saves.into_iter().map(|(_, save)| save).collect(),
            }
        })
        .collect();
    // Equal times are all capped by this clock: then the time in the name decides.
    listed.sort_by_key(|listed| std::cmp::Reverse((listed.newest, listed.saves.last().copied())));
    listed
}

/// The saves of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saves {
    /// The records of those that can be read.
    pub records: Vec<RefRecord>,
    /// Saves whose records a power cut left empty or truncated. They count as absent; the next save
    /// supersedes them.
    pub torn: Vec<SaveId>,
}

impl Saves {
    /// The saves that a new save supersedes when it contains all of these.
    pub fn contained(&self) -> Vec<SaveId> {
        let mut saves = superseded_saves(&self.records);
        saves.extend(&self.torn);
        saves
    }
}

/// Reads the records of one key, whose union is its current value.
///
/// One round trip if the head is up to date, otherwise two. Without a record the list is empty.
/// Superseded saves are listed in a record only if they still exist.
pub async fn read_records(remote: &DynRemote, name: &RefName) -> Result<Vec<RefRecord>> {
    Ok(read_saves(remote, name).await?.records)
}

/// [`read_records`], and which saves are torn.
///
/// # Errors
///
/// [`Error::Damaged`] and [`Error::Unsupported`] for a record that cannot be read: the key may hold
/// more than the others say.
pub async fn read_saves(remote: &DynRemote, name: &RefName) -> Result<Saves> {
    let (head, mut listed) = tokio::join!(read_head(remote, name), list_saves(remote, name));
    let head = head?;
    // The key may have got its next save while the list was made, so that it shows neither.
    if head.is_some() && listed.as_ref().is_ok_and(Vec::is_empty) {
        listed = list_saves(remote, name).await;
    }
    records_of(remote, name, listed?, head, Unreadable::Fail).await
}

/// Treatment of a record that is corrupt or of a newer format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The key cannot be read: it was requested by its name.
    Fail,
    /// The record is passed over with a warning: the key only matched a prefix, and others may too.
    PassOver,
}

/// [`read_records`] of a key that matched a prefix: records that cannot be read are passed over.
pub(super) async fn read_candidate(
    remote: &DynRemote,
    listed: ListedKey,
) -> Result<Vec<RefRecord>> {
    let ListedKey { name, saves, .. } = listed;
    read_passing_over(remote, &name, saves).await
}

async fn read_passing_over(
    remote: &DynRemote,
    name: &RefName,
    saves: Vec<SaveId>,
) -> Result<Vec<RefRecord>> {
    let read = records_of(remote, name, saves, None, Unreadable::PassOver).await?;
    Ok(read.records)
}

/// Reads the head. It is a hint: one that can't be understood is as good as none, because the
/// records that it is a copy of are read instead.
async fn read_head(remote: &DynRemote, name: &RefName) -> Result<Option<RefRecord>> {
    let object = name.head();
    match remote.get(&object, MAX_RECORD).await {
        Ok(bytes) => Ok(RefRecord::decode(&object, &bytes)
            .and_then(|head| match head.name() == *name {
                true => Ok(head),
                false => Err(Error::damaged(
                    format!("ref {object}"),
                    "it belongs to another key",
                )),
            })
            .inspect_err(|error| tracing::warn!("ignoring a head: {error}"))
            .ok()),
        Err(error) if error.kind() == RemoteErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Lists the saves of one key.
pub(super) async fn list_saves(remote: &DynRemote, name: &RefName) -> Result<Vec<SaveId>> {
    let objects = remote.list(&name.records()).await?;
    Ok(objects
        .iter()
        .filter_map(|object| parse_listing(&object.key))
        .map(|(_, save)| save)
        .collect())
}

/// Reads the listed records, except for the one that the head replaces.
async fn records_of(
    remote: &DynRemote,
    name: &RefName,
    mut listed: Vec<SaveId>,
    head: Option<RefRecord>,
    unreadable: Unreadable,
) -> Result<Saves> {
    // A saver may supersede and delete a record that was just listed; then the list is read again.
    for _ in 0..16 {
        let is_listed: HashSet<_> = listed.iter().copied().collect();
        let mut torn = Vec::new();
        let mut records: Vec<_> = head
            .iter()
            .filter(|head| is_listed.contains(&head.id))
            .cloned()
            .collect();
        let covered: HashSet<_> = records
            .iter()
            .flat_map(|head| head.supersedes.iter().chain([&head.id]))
            .copied()
            .collect();
        let missing: Vec<_> = listed
            .iter()
            .filter(|save| !covered.contains(save))
            .copied()
            .collect();
        let mut vanished = false;
        let mut bytes_read = 0;
        // In runs, so that no more records than that are in memory twice.
        for run in missing.chunks(WIDTH) {
            let reads = run.iter().map(|save| {
                let (remote, object, save) = (remote.clone(), name.record(save), *save);
                async move { (remote.get(&object, MAX_RECORD).await, save) }
            });
            for (bytes, save) in join_all(reads).await {
                match bytes {
                    Ok(bytes) => {
                        bytes_read += bytes.len() as u64;
                        match RefRecord::decode_as(name, &save, &bytes) {
                            Ok(record) => records.push(record),
                            Err(error @ Error::Torn { .. }) => {
                                tracing::warn!("treating a save as absent: {error}");
                                torn.push(save);
                            }
                            Err(error) if unreadable == Unreadable::PassOver => {
                                tracing::warn!("ignoring a save: {error}");
                            }
                            Err(error) => return Err(error),
                        }
                    }
                    Err(error) if error.kind() == RemoteErrorKind::NotFound => vanished = true,
                    Err(error)
                        if error.kind() == RemoteErrorKind::TooLarge
                            && unreadable == Unreadable::PassOver =>
                    {
                        tracing::warn!("ignoring a save: {error}");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if bytes_read > MAX_RECORDS {
                return Err(Error::damaged(
                    format!("the key {name}"),
                    format!("it has {} records, which is above the limit", listed.len()),
                ));
            }
        }
        if !vanished {
            // Saves that are not listed any more can be dropped. Those that still exist must be
            // superseded again by the saver that supersedes this record; otherwise they would come
            // back when it is deleted.
            for record in &mut records {
                record.supersedes.retain(|save| is_listed.contains(save));
            }
            return Ok(Saves { records, torn });
        }
        listed = list_saves(remote, name).await?;
    }
    Err(Error::damaged(
        format!("the key {name}"),
        "its list of saves refers to missing records",
    ))
}

/// Finds the stack for a key; `None` if nothing matches.
///
/// All candidates are requested in parallel: the head and the records of the key in each scope, and
/// the keys with each prefix. Within a scope the exact key comes first, then the prefixes in order;
/// then the next scope.
pub async fn resolve_key(remote: &DynRemote, wanted: &KeyQuery) -> Result<Option<Resolved>> {
    match &wanted.chosen {
        None => {}
        Some(Chosen::Nothing) => return Ok(None),
        Some(Chosen::Part { name, kind }) => {
            let records = match kind {
                MatchKind::Exact => read_records(remote, name).await?,
                // As `find` did when it chose the key.
                MatchKind::Prefix(_) => {
                    let saves = list_saves(remote, name).await?;
                    read_passing_over(remote, name, saves).await?
                }
            };
            let records = retain_unexpired(records);
            let found = !records.is_empty();
            return Ok(found.then(|| into_resolved(name.clone(), kind.clone(), records)));
        }
    }
    let wanted = Arc::new(wanted.clone());
    let in_scopes = (0..wanted.scopes.len()).map(|number| {
        let (remote, wanted) = (remote.clone(), wanted.clone());
        async move {
            let scope = wanted.scopes[number].clone();
            let name = RefName::new(scope.clone(), wanted.key.clone());
            let prefixes = wanted.prefixes.clone().into_iter().map(|prefix| {
                let (remote, scope) = (remote.clone(), scope.clone());
                async move { (list_keys(&remote, &scope, &prefix).await, prefix) }
            });
            let (exact, prefixes) = tokio::join!(read_records(&remote, &name), join_all(prefixes));
            (name, exact, prefixes)
        }
    });
    for (name, exact, prefixes) in join_all(in_scopes).await {
        let records = retain_unexpired(exact?);
        if !records.is_empty() {
            return Ok(Some(into_resolved(name, MatchKind::Exact, records)));
        }
        for (listed, prefix) in prefixes {
            let of_one_path = |listed: &ListedKey| listed.name.part.is_none();
            for candidate in listed?.into_iter().filter(of_one_path) {
                let name = candidate.name.clone();
                let records = retain_unexpired(read_candidate(remote, candidate).await?);
                if !records.is_empty() {
                    return Ok(Some(into_resolved(
                        name,
                        MatchKind::Prefix(prefix),
                        records,
                    )));
                }
            }
        }
    }
    Ok(None)
}

/// The records that still count at this moment.
pub fn retain_unexpired(mut records: Vec<RefRecord>) -> Vec<RefRecord> {
    let now = SaveId::now().micros;
    records.retain(|record| !record.is_expired(now));
    records
}

fn into_resolved(name: RefName, kind: MatchKind, records: Vec<RefRecord>) -> Resolved {
    let (layers, records) = unite_records(records);
    Resolved {
        name,
        kind,
        layers,
        records,
    }
}
