//! Reading parts of packs that no layer describes.

use super::{MAX, PackRef, Trailer, object_key};
use crate::error::{Error, Result};
use crate::remote::DynRemote;

/// Reads the trailer of a pack, with one request.
pub async fn read_trailer(remote: DynRemote, pack: PackRef) -> Result<(PackRef, Trailer)> {
    let range = pack.trailer_range();
    if range.is_empty() || u64::from(pack.length) > MAX as u64 {
        return Err(Error::damaged(
            format!("pack {}", pack.id),
            "its length is impossible",
        ));
    }
    let bytes = remote.get_range(&object_key(&pack.id), range).await?;
    Ok((pack, Trailer::decode(&pack.id, &bytes)?))
}
