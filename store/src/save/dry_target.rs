//! The target of a dry run.

use super::store_target::StoreTarget;
use super::target::Target;
use crate::error::Result;
use crate::id::ChunkId;
use crate::index::Indexed;
use crate::pack::{FinishedPack, PackRef, Trailer};

/// Looks everything up and stores nothing.
pub(super) struct DryTarget<'a>(pub(super) &'a StoreTarget);

impl Target for DryTarget<'_> {
    fn lookup(&self, chunks: &[ChunkId]) -> Result<Vec<Option<Indexed>>> {
        self.0.lookup(chunks)
    }

    fn learn(&self, packs: &[PackRef]) -> Result<()> {
        self.0.learn(packs)
    }

    fn trailer(&self, pack: &PackRef) -> Result<Trailer> {
        self.0.trailer(pack)
    }

    fn put_pack(&self, _: FinishedPack) -> Result<()> {
        Ok(())
    }

    fn confirm(&self, packs: &[PackRef]) -> Result<Vec<PackRef>> {
        self.0.confirm(packs)
    }
}
