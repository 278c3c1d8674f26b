//! Reading parts of packs that no layer describes.

use super::{MAX, PackRef, Trailer, object_key};
use crate::error::{Error, Result};
use crate::remote::DynRemote;

/// Reads the trailer of a pack, with one request.
///
/// If the pack's description has the hash of its trailer, the trailer is the one that the writer of
/// the layer has seen. Otherwise it is untrusted, because anyone with write access to packs may
/// have replaced it: savers must not add it to their index.
///
/// # Errors
/// [`Error::Damaged`] when the trailer has another hash, or contradicts itself or the description.
pub async fn read_trailer(remote: DynRemote, pack: PackRef) -> Result<(PackRef, Trailer)> {
    let range = pack.trailer_range();
    if range.is_empty() || u64::from(pack.length) > MAX as u64 {
        return Err(Error::damaged(
            format!("pack {}", pack.id),
            "invalid length",
        ));
    }
    let bytes = remote.get_range(&object_key(&pack.id), range).await?;
    Ok((pack, Trailer::of(&pack, &bytes)?))
}
