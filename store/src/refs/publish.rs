//! Making a save visible, and taking a key away.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::name::{Key, RefName, Scope, parse_listing, parts_prefix};
use super::record::RefRecord;
use super::resolve::list_saves;
use crate::error::Result;
use crate::id::SaveId;
use crate::remote::{DynRemote, PutMode};
use crate::task::join_all;

/// Publishes a save whose packs and layers are all stored.
///
/// The record is written first: from then on the save is visible, whatever happens. Then the head
/// is written, so that readers need one round trip, and the superseded records are deleted. A saver
/// that dies in between, or that may not overwrite or delete, leaves a key with the same value that
/// costs one more request. So failures after the record are only logged.
///
/// Does not check the condemned list: [`publish_confirmed`](crate::gc::publish_confirmed) does.
pub async fn publish_record(remote: &DynRemote, record: &RefRecord) -> Result<()> {
    put_record(remote, record).await?;
    put_head(remote, record).await;
    Ok(())
}

/// The first half of [`publish_record`]: the save is visible.
pub(crate) async fn put_record(remote: &DynRemote, record: &RefRecord) -> Result<()> {
    let bytes = Bytes::from(record.encode()?);
    let object = record.name().record(&record.id);
    Ok(remote.put(&object, bytes, PutMode::IfAbsent).await?)
}

/// Removes a record that was just published, before anything that it supersedes was.
pub(crate) async fn take_back(remote: &DynRemote, record: &RefRecord) -> Result<()> {
    Ok(remote.delete(&record.name().record(&record.id)).await?)
}

/// The second half of [`publish_record`]: writes the head and deletes superseded records.
pub(crate) async fn put_head(remote: &DynRemote, record: &RefRecord) {
    let name = record.name();
    let put = async {
        let bytes = Bytes::from(record.encode()?);
        remote.put(&name.head(), bytes, PutMode::Overwrite).await?;
        Ok::<_, crate::error::Error>(())
    };
    if let Err(error) = put.await {
        tracing::warn!("the head of {name} is out of date: {error}");
    }
    if let Err(error) = remove_records(remote, &name, &record.supersedes).await {
        tracing::warn!("cannot remove older saves of {name}: {error}");
    }
}

async fn remove_records(remote: &DynRemote, name: &RefName, saves: &[SaveId]) -> Result<()> {
    let deletions = saves.iter().map(|save| {
        let (remote, object) = (remote.clone(), name.record(save));
        async move { remote.delete(&object).await }
    });
    for outcome in join_all(deletions).await {
        outcome?;
    }
    Ok(())
}

/// Removes these saves of a key, and its head if none is left. Returns how many are left.
pub async fn remove_saves(remote: &DynRemote, name: &RefName, saves: &[SaveId]) -> Result<usize> {
    remove_records(remote, name, saves).await?;
    let left = list_saves(remote, name).await?.len();
    if left == 0 {
        remote.delete(&name.head()).await?;
    }
    Ok(left)
}

/// Deletes a key with all its parts. Returns how many saves it had.
pub async fn delete_key(remote: &DynRemote, scope: &Scope, key: &Key) -> Result<usize> {
    // With the empty records that a power cut left, which no listing of keys shows.
    let objects = remote.list(&parts_prefix(scope, key)).await?;
    let names = objects
        .iter()
        .filter_map(|object| parse_listing(&object.key));
    let names: BTreeSet<_> = names.map(|(name, _)| name).collect();
    let mut saves = 0;
    for name in names.iter().filter(|name| name.key == *key) {
        saves += delete_name(remote, name).await?;
    }
    Ok(saves)
}

/// Deletes a key of one path, or one part of a key: all its records, then its head. Returns how
/// many saves it had.
pub async fn delete_name(remote: &DynRemote, name: &RefName) -> Result<usize> {
    let saves = list_saves(remote, name).await?;
    remove_records(remote, name, &saves).await?;
    remote.delete(&name.head()).await?;
    Ok(saves.len())
}
