//! Whether a stack can be served, or the remote lost a part of it.

use std::path::Path;

use cachefs_store::check::find_missing;
use cachefs_store::local::LostPacks;
use cachefs_store::refs::LayerInfo;
use cachefs_store::remote::DynRemote;
use cachefs_store::stack::Stack;

use crate::error::{Error, Result};

/// Gives back a stack that was opened if the remote has all of it, as far as that is known; otherwise
/// the inner error says what is lost. A restore treats that as a miss: the build fills the cache
/// again, instead of failing in the middle of a read.
///
/// # Errors
///
/// Those of opening the stack, other than that a layer is lost.
pub(crate) async fn check_usable(
    remote: &DynRemote,
    layers: &[LayerInfo],
    opened: Result<Stack>,
    store: &Path,
) -> Result<Result<Stack, String>> {
    let stack = match opened {
        Ok(stack) => stack,
        Err(Error::Store(error)) if error.is_lost() => return Ok(Err(error.to_string())),
        Err(error) => return Err(error),
    };
    let missing = find_missing(remote, layers, stack.layers(), &LostPacks::new(store)).await?;
    Ok(match missing.is_empty() {
        true => Ok(stack),
        false => Err(missing.to_string()),
    })
}
