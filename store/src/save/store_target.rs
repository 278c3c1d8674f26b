//! A save's target made of an index, the local cache and the remote.

use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::target::Target;
use crate::error::Result;
use crate::id::{ChunkId, RepoId};
use crate::index::{ChunkIndex, Indexed};
use crate::local::PackCache;
use crate::pack::{self, FinishedPack, PackRef, Trailer};
use crate::remote::{DynRemote, PutMode, RemoteErrorKind};
use crate::task::join_all;

/// Saves into one repository through one index, of this process or behind a socket.
///
/// Its calls block on `runtime`, so they must come from threads outside of it.
#[derive(Clone)]
pub struct StoreTarget {
    /// Runs the requests.
    pub runtime: Handle,
    /// Where packs go.
    pub remote: DynRemote,
    /// Which repository that is.
    pub repo: RepoId,
    /// What is known of it.
    pub index: Arc<dyn ChunkIndex>,
    /// Where new packs are kept, so that the next restore here reads them locally.
    pub cache: Arc<PackCache>,
}

impl StoreTarget {
    /// Stores a pack whose bytes may be shared memory; `trailer` is the list at their end.
    pub fn put(&self, pack: &PackRef, bytes: Bytes, trailer: &Trailer) -> Result<()> {
        let object = pack::object_key(&pack.id);
        self.runtime
            .block_on(self.remote.put(&object, bytes.clone(), PutMode::IfAbsent))?;
        if self.remote.local_dir().is_none()
            && let Err(error) = self.cache.write(&pack.id, 0, &bytes)
        {
            tracing::warn!("a new pack can't be kept locally: {error}");
        }
        self.index.insert(&self.repo, pack, trailer)
    }
}

impl Target for StoreTarget {
    fn lookup(&self, chunks: &[ChunkId]) -> Result<Vec<Option<Indexed>>> {
        self.index.lookup(&self.repo, chunks)
    }

    fn learn(&self, packs: &[PackRef]) -> Result<()> {
        let mut unknown = Vec::new();
        for pack in packs {
            if !self.index.has_pack(&self.repo, &pack.id)? {
                unknown.push(pack::read_trailer(self.remote.clone(), *pack));
            }
        }
        for read in self.runtime.block_on(join_all(unknown)) {
            let (pack, trailer) = read?;
            self.index.insert(&self.repo, &pack, &trailer)?;
        }
        Ok(())
    }

    fn trailer(&self, pack: &PackRef) -> Result<Trailer> {
        let (_, trailer) = self
            .runtime
            .block_on(pack::read_trailer(self.remote.clone(), *pack))?;
        Ok(trailer)
    }

    fn put_pack(&self, pack: FinishedPack) -> Result<()> {
        self.put(&pack.pack, pack.bytes.into(), &pack.trailer)
    }

    fn confirm(&self, packs: &[PackRef]) -> Result<Vec<PackRef>> {
        let heads = packs.iter().map(|pack| {
            let (remote, pack) = (self.remote.clone(), *pack);
            async move { (remote.head(&pack::object_key(&pack.id)).await, pack) }
        });
        let mut missing = Vec::new();
        for (head, pack) in self.runtime.block_on(join_all(heads)) {
            match head {
                Ok(info) if info.size == u64::from(pack.length) => {}
                Ok(_) => missing.push(pack),
                Err(error) if error.kind() == RemoteErrorKind::NotFound => missing.push(pack),
                Err(error) => return Err(error.into()),
            }
        }
        for pack in &missing {
            self.index.remove(&self.repo, &pack.id)?;
        }
        Ok(missing)
    }
}
