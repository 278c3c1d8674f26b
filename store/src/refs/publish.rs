//! Making a save visible, and taking a key away.

use bytes::Bytes;

use super::find::list_parts;
use super::name::{Key, RefName, Scope};
use super::record::Record;
use super::resolve::list_saves;
use crate::error::Result;
use crate::id::SaveId;
use crate::remote::{DynRemote, PutMode};
use crate::task::join_all;

/// Publishes a save whose packs and layers are all stored.
///
/// The record comes first: from then on the save is visible whatever happens. Then the head, so
/// that readers need one round trip; then the records that this one contains go away. A saver that
/// dies in between, or may not overwrite or delete, leaves a key that reads the same, with a
/// request more; so what fails after the record is only logged.
pub async fn publish(remote: &DynRemote, record: &Record) -> Result<()> {
    let name = record.name();
    let bytes = Bytes::from(record.encode()?);
    remote
        .put(&name.record(&record.id), bytes.clone(), PutMode::IfAbsent)
        .await?;
    if let Err(error) = remote.put(&name.head(), bytes, PutMode::Overwrite).await {
        tracing::warn!("the head of {name} is out of date: {error}");
    }
    if let Err(error) = remove_records(remote, &name, &record.supersedes).await {
        tracing::warn!("older saves of {name} can't be removed: {error}");
    }
    Ok(())
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

/// Deletes a key with all its parts. Returns how many saves it had.
pub async fn delete_key(remote: &DynRemote, scope: &Scope, key: &Key) -> Result<usize> {
    let mut saves = 0;
    for listed in list_parts(remote, scope, key).await? {
        saves += delete(remote, &listed.name).await?;
    }
    Ok(saves)
}

/// Deletes a key of one path, or one part of a key: all its records, then its head. Returns how
/// many saves it had.
pub async fn delete(remote: &DynRemote, name: &RefName) -> Result<usize> {
    let saves = list_saves(remote, name).await?;
    remove_records(remote, name, &saves).await?;
    remote.delete(&name.head()).await?;
    Ok(saves.len())
}
