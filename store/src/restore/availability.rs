//! Checks whether a stack can be served, or the remote lost a part of it.

use crate::check::find_missing;
use crate::error::Result;
use crate::local::{LayerCache, LostPacks};
use crate::refs::{FoundKey, LayerInfo, RefName, read_records, retain_unexpired, unite_records};
use crate::remote::DynRemote;
use crate::stack::Stack;

/// Finds the reason why a restore of these layers would be a miss although a key names them; `None`
/// if the remote has all of them, as far as a restore can detect.
///
/// Fetches layers that this machine lacks, like a restore.
///
/// # Errors
///
/// Those of opening the layers, except for lost layers.
pub async fn find_loss(
    cache: &LayerCache,
    remote: &DynRemote,
    layers: &[LayerInfo],
) -> Result<Option<String>> {
    let opened = cache.open(remote, layers).await.and_then(Stack::new);
    Ok(check_usable(cache, remote, layers, opened).await?.err())
}

/// Drops the parts of a key whose data the remote lost. The inner error names the loss if no part
/// is left.
///
/// # Errors
///
/// Those of [`find_loss`], and of reading the key.
pub async fn without_lost_parts(
    cache: &LayerCache,
    remote: &DynRemote,
    mut found: FoundKey,
) -> Result<Result<FoundKey, String>> {
    let mut parts = Vec::new();
    let mut lost = None;
    for part in found.parts {
        let name = match part.clone() {
            Some(part) => RefName::of_part(found.scope.clone(), found.key.clone(), part)?,
            None => RefName::new(found.scope.clone(), found.key.clone()),
        };
        let records = retain_unexpired(read_records(remote, &name).await?);
        match find_loss(cache, remote, &unite_records(records).0).await? {
            Some(why) => lost = lost.or(Some(why)),
            None => parts.push(part),
        }
    }
    found.parts = parts;
    Ok(match lost {
        Some(why) if found.parts.is_empty() => Err(why),
        _ => Ok(found),
    })
}

/// Returns an opened stack if the remote has all of it, as far as is known; otherwise the inner
/// error names the loss. A restore treats that as a miss: the build fills the cache again, instead
/// of failing in the middle of a read.
///
/// # Errors
///
/// Those of opening the stack, except for a lost layer.
pub async fn check_usable(
    cache: &LayerCache,
    remote: &DynRemote,
    layers: &[LayerInfo],
    opened: Result<Stack>,
) -> Result<Result<Stack, String>> {
    let stack = match opened {
        Ok(stack) => stack,
        Err(error) if error.is_lost() => return Ok(Err(error.to_string())),
        Err(error) => return Err(error),
    };
    let lost = LostPacks::new(cache.root());
    let missing = find_missing(remote, layers, stack.layers(), &lost).await?;
    Ok(match missing.is_empty() {
        true => Ok(stack),
        false => Err(missing.to_string()),
    })
}
