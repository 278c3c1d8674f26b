//! Packs: immutable remote objects made of frames.
//!
//! A pack is a header, frames one behind the other, and a trailer that lists frames and chunks.
//! Readers of a cache never need the trailer, because layers carry full locations; savers read it
//! to deduplicate against packs of other machines, and `check` to verify. The byte layout is in
//! `docs/format/pack.md`.

mod fetch;
mod pack_list;
mod trailer;
mod writer;

pub use fetch::read_trailer;
pub use pack_list::PackSet;
pub use trailer::{FOOTER_LEN, Footer, Trailer, TrailerChunk, TrailerFrame};
pub use writer::{FinishedPack, PackWriter};

use crate::id::{PackId, TrailerHash};
use crate::remote::ObjectKey;

/// The first eight bytes of every pack.
pub const MAGIC: [u8; 8] = *b"CFSPACK1";

/// A pack is closed when it holds this many bytes.
pub const TARGET: usize = 32 << 20;

/// The largest pack, in bytes; bounds the allocation of readers.
pub const MAX: usize = 64 << 20;

/// Names a pack and says where its trailer starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PackRef {
    /// The pack.
    pub id: PackId,
    /// Its whole length in bytes.
    pub length: u32,
    /// Offset of the trailer, which reaches to the end.
    pub trailer: u32,
    /// The hash of the trailer. `None` if only a layer of the old format describes the pack: then
    /// the trailer is untrusted, and savers do not add it to their index.
    pub hash: Option<TrailerHash>,
}

/// The object that holds a pack.
///
/// The two-digit folder keeps directories small where the remote is one.
pub fn object_key(id: &PackId) -> ObjectKey {
    let hex = id.to_string();
    ObjectKey::new(format!("packs/{}/{hex}", &hex[..2]))
}
