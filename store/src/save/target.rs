//! The index and the remote, as a save uses them.

use crate::error::Result;
use crate::id::ChunkId;
use crate::index::Indexed;
use crate::pack::{FinishedPack, PackRef, Trailer};

/// Where a save looks chunks up and puts packs. All calls block and may come from any thread.
pub trait Target: Send + Sync {
    /// Looks chunks up; `None` for those that must be stored.
    ///
    /// A chunk that is found is stored in a pack that the remote still has, as far as is known;
    /// [`Target::confirm`] makes sure.
    fn lookup(&self, chunks: &[ChunkId]) -> Result<Vec<Option<Indexed>>>;

    /// Makes the chunks of these packs known to [`Target::lookup`].
    fn learn(&self, packs: &[PackRef]) -> Result<()>;

    /// Reads the list of a pack's frames and chunks.
    fn trailer(&self, pack: &PackRef) -> Result<Trailer>;

    /// Stores a pack and makes its chunks known.
    fn put_pack(&self, pack: FinishedPack) -> Result<()>;

    /// Checks that the remote still has these packs, undamaged as far as this machine has read them,
    /// and means to keep them; returns the others.
    fn confirm(&self, packs: &[PackRef]) -> Result<Vec<PackRef>>;
}
