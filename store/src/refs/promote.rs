//! Taking a key over into another scope, as when a branch is merged.

use super::creator::Creator;
use super::name::{RefName, Scope};
use super::promoted_packs::verify_new;
use super::record::{LayerInfo, RefRecord};
use super::resolve::{read_records, read_saves, retain_unexpired};
use super::unite::{append_layers, unite_records};
use crate::error::{Error, Result};
use crate::gc::{self, Condemned, Needs};
use crate::id::SaveId;
use crate::remote::DynRemote;
use crate::repository::refuse_newer_format;
use crate::stack::MAX_DEPTH;

/// Result of a promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promotion {
    /// The source key does not exist or has expired.
    Absent,
    /// The target key already contains all layers; nothing was written.
    AlreadyThere,
    /// The key there was made, or now has this too: its stack.
    Promoted(Vec<LayerInfo>),
}

/// Sets the key of the same name in `to` to the union of itself and of `from`, which lies on top,
/// like a merged change.
///
/// Only a record is written: layers and packs are shared. Packs that are new to `to` are read and
/// verified, because savers there will rely on them. The operation is idempotent. With `dry_run`,
/// not even the record is written. `condemned` is the collector's list, read just now: a key whose
/// layers are about to be removed cannot be promoted any more.
///
/// # Errors
/// [`Error::Damaged`] if a pack differs from its chunk list, and [`Error::TooLarge`] if the stack
/// would have more layers than a reader opens; nothing is written then.
pub async fn promote_key(
    remote: &DynRemote,
    from: &RefName,
    to: &Scope,
    creator: &Creator,
    condemned: &Condemned,
    dry_run: bool,
) -> Result<Promotion> {
    refuse_newer_format(remote).await?;
    let target = RefName {
        scope: to.clone(),
        key: from.key.clone(),
        part: from.part.clone(),
    };
    let (source, there) = tokio::join!(read_records(remote, from), read_saves(remote, &target));
    let source = retain_unexpired(source?);
    let there = there?;
    let Some(newest) = source.iter().max_by_key(|record| record.id).cloned() else {
        return Ok(Promotion::Absent);
    };
    let supersedes = there.contained();
    let (stack_there, live) = unite_records(retain_unexpired(there.records.clone()));
    let is_permanent = live.iter().all(|record| record.expires.is_none());
    let mut stack = stack_there.clone();
    append_layers(&mut stack, &unite_records(source).0);
    let same = |a: &LayerInfo, b: &LayerInfo| a.id == b.id;
    let adds = stack.len() != stack_there.len()
        || !stack.iter().zip(&stack_there).all(|(a, b)| same(a, b));
    if !adds && is_permanent {
        return Ok(Promotion::AlreadyThere);
    }
    if stack.len() > MAX_DEPTH {
        // The key there would be superseded by one that nobody can open.
        return Err(Error::TooLarge {
            what: "a promoted key",
            limit: format!("{MAX_DEPTH} layers"),
        });
    }
    verify_new(remote, &target, &there.records, &stack).await?;
    let needs = Needs {
        layers: stack.iter().map(|layer| layer.id).collect(),
        ..Needs::default()
    };
    let now = SaveId::now().micros;
    let mut record = RefRecord::new(target, stack, creator.clone(), newest.platform);
    record.supersedes = supersedes;
    record.parts = newest.parts;
    record.saved_from = newest.saved_from;
    if record
        .layers
        .iter()
        .map(|layer| layer.id)
        .eq(newest.layers.iter().map(|layer| layer.id))
    {
        record.tree = newest.tree;
    }
    let stack = record.layers.clone();
    match dry_run {
        true => gc::confirm_needs(remote, condemned, &needs, now).await?,
        false => gc::publish_confirmed(remote, &record, condemned, &needs, now).await?,
    }
    Ok(Promotion::Promoted(stack))
}
