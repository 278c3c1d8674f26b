//! A save's target made of an index, the local cache and the remote.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::target::Target;
use crate::check::is_damaged;
use crate::error::{Error, Result};
use crate::gc::Condemned;
use crate::id::{ChunkId, PackId};
use crate::index::{ChunkIndex, Domains, Indexed};
use crate::local::Mirror;
use crate::pack::{self, FinishedPack, PackRef, Trailer};
use crate::remote::{DynRemote, PutMode, RemoteErrorKind};
use crate::task::join_all;

/// Saves into one repository through one index, in this process or behind a socket.
///
/// Its calls block on `runtime`, so they must come from threads outside of it.
#[derive(Clone)]
pub struct StoreTarget {
    /// Runs the requests.
    pub runtime: Handle,
    /// Where packs go.
    pub remote: DynRemote,
    /// Index domains that this save trusts.
    pub domains: Domains,
    /// The known packs.
    pub index: Arc<dyn ChunkIndex>,
    /// The condemned objects; new saves do not rely on them.
    pub condemned: Arc<Condemned>,
    /// Where new packs are kept, so that the next restore here reads them locally.
    pub cache: Mirror,
}

impl StoreTarget {
    fn is_condemned(&self, pack: &PackId) -> bool {
        self.condemned.packs.contains_key(pack)
    }

    /// Stores a pack whose bytes may be shared memory; `trailer` is the chunk list at their end.
    pub fn put(&self, pack: &PackRef, bytes: Bytes, trailer: &Trailer) -> Result<()> {
        let object = pack::object_key(&pack.id);
        self.runtime
            .block_on(self.remote.put(&object, bytes.clone(), PutMode::IfAbsent))?;
        if self.remote.local_dir().is_none()
            && let Err(error) = self.cache.write(&pack.id, 0, &bytes)
        {
            tracing::warn!("cannot keep a local copy of a new pack: {error}");
        }
        self.index.insert(&self.domains.own(), pack, trailer)
    }
}

/// Whether a pack's trailer cannot be had although the remote answers: the pack is damaged, lost or cut
/// short.
pub(super) fn is_unusable(error: &Error) -> bool {
    let is_gone = |kind| matches!(kind, RemoteErrorKind::Damaged | RemoteErrorKind::NotFound);
    match error {
        Error::Damaged { .. } | Error::Torn { .. } | Error::Lost { .. } => true,
        Error::Remote(error) => is_gone(error.kind()),
        _ => false,
    }
}

impl Target for StoreTarget {
    fn lookup(&self, chunks: &[ChunkId]) -> Result<Vec<Option<Indexed>>> {
        let domains = self.domains.lookup_order();
        let mut found = self.index.lookup(&domains, chunks)?;
        let mut condemned = BTreeSet::new();
        for known in &mut found {
            let taken = known.take_if(|known| self.is_condemned(&known.pack.id));
            condemned.extend(taken.map(|known| known.pack.id));
        }
        // A chunk keeps the place that the index knows: it must forget this one to take another.
        for pack in condemned {
            self.index.remove(&domains, &pack)?;
        }
        Ok(found)
    }

    fn learn(&self, packs: &[PackRef]) -> Result<()> {
        let domains = self.domains.lookup_order();
        let mut unknown = Vec::new();
        for pack in packs.iter().filter(|pack| pack.hash.is_some()) {
            if !self.index.has_pack(&domains, pack)? {
                unknown.push(pack::read_trailer(self.remote.clone(), *pack));
            }
        }
        for read in self.runtime.block_on(join_all(unknown)) {
            match read {
                Ok((pack, trailer)) => self.index.insert(&self.domains.base(), &pack, &trailer)?,
                // Its chunks are stored once more, which costs room and no bytes of the build.
                Err(error) if is_unusable(&error) => {
                    tracing::warn!("ignoring the chunk list of a pack: {error}");
                }
                Err(error) => return Err(error),
            }
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
        let (mut missing, packs): (Vec<PackRef>, Vec<PackRef>) =
            packs.iter().partition(|pack| self.is_condemned(&pack.id));
        let mut present = Vec::new();
        let heads = packs.into_iter().map(|pack| {
            let remote = self.remote.clone();
            async move { (remote.head(&pack::object_key(&pack.id)).await, pack) }
        });
        for (head, pack) in self.runtime.block_on(join_all(heads)) {
            match head {
                Ok(info) if info.size == u64::from(pack.length) => present.push(pack),
                Ok(_) => missing.push(pack),
                Err(error) if error.kind() == RemoteErrorKind::NotFound => missing.push(pack),
                Err(error) => return Err(error.into()),
            }
        }
        let notes = self.cache.lost_packs();
        for pack in present {
            if notes.may_be_damaged(&pack)
                && self
                    .runtime
                    .block_on(is_damaged(&self.remote, &pack, notes))
            {
                missing.push(pack);
            }
        }
        for pack in &missing {
            self.index.remove(&self.domains.lookup_order(), &pack.id)?;
        }
        Ok(missing)
    }
}
