//! The local index: where chunks are, so that a save stores only what is new.
//!
//! A RocksDB database that only one process has open: the daemon of the store directory. It is
//! never needed to mount or read a cache. Everything in it can be rebuilt from the trailers of the
//! packs, so a damaged database is removed and started afresh; the next save then reads a few
//! trailers more.

mod database;
mod value;

use std::path::Path;

use parking_lot::RwLock;

use crate::error::Result;
use crate::frame::ChunkLocation;
use crate::id::{ChunkId, PackId, RepoId};
use crate::pack::{PackRef, Trailer};

use database::Database;

/// Where a chunk is, and the pack that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Indexed {
    /// The chunk's place.
    pub location: ChunkLocation,
    /// Its pack.
    pub pack: PackRef,
}

/// What a save asks of an index. Calls block and may come from any thread.
pub trait ChunkIndex: Send + Sync {
    /// Looks chunks up; `None` for those that no known pack holds.
    fn lookup(&self, repo: &RepoId, chunks: &[ChunkId]) -> Result<Vec<Option<Indexed>>>;
    /// Whether a pack's chunks are in the index.
    fn has_pack(&self, repo: &RepoId, pack: &PackId) -> Result<bool>;
    /// Adds a pack and its chunks. A chunk that is known already keeps its older place.
    fn insert(&self, repo: &RepoId, pack: &PackRef, trailer: &Trailer) -> Result<()>;
    /// Takes a pack out, because the remote no longer has it. Its chunks count as unknown.
    fn remove(&self, repo: &RepoId, pack: &PackId) -> Result<()>;
}

/// The index of one store directory.
pub struct Index {
    database: RwLock<Database>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Index {
    /// Opens the index in `directory`, creating or rebuilding it when it must be.
    pub fn open(directory: &Path) -> Result<Self> {
        Ok(Self {
            database: RwLock::new(Database::open(directory)?),
        })
    }

    fn run<T>(&self, work: impl Fn(&Database) -> Result<T>) -> Result<T> {
        let failed = match work(&self.database.read()) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        tracing::warn!("the local index failed and is rebuilt: {failed}");
        let mut database = self.database.write();
        database.reset()?;
        work(&database)
    }
}

/// A database that fails is replaced by an empty one: chunks are then stored once more.
impl ChunkIndex for Index {
    fn lookup(&self, repo: &RepoId, chunks: &[ChunkId]) -> Result<Vec<Option<Indexed>>> {
        self.run(|database| database.lookup(repo, chunks))
    }

    fn has_pack(&self, repo: &RepoId, pack: &PackId) -> Result<bool> {
        self.run(|database| database.has_pack(repo, pack))
    }

    fn insert(&self, repo: &RepoId, pack: &PackRef, trailer: &Trailer) -> Result<()> {
        self.run(|database| database.insert(repo, pack, trailer))
    }

    fn remove(&self, repo: &RepoId, pack: &PackId) -> Result<()> {
        self.run(|database| database.remove(repo, pack))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameBuilder;
    use crate::pack::{FinishedPack, PackWriter};

    fn pack(chunks: &[&[u8]]) -> FinishedPack {
        let mut frames = FrameBuilder::new().unwrap();
        let mut writer = PackWriter::new();
        for chunk in chunks {
            assert!(frames.push(ChunkId::of(chunk), chunk).unwrap().is_none());
        }
        writer.push(&frames.finish().unwrap().unwrap());
        writer.finish()
    }

    #[test]
    fn chunks_are_found_until_their_pack_goes() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(dir.path()).unwrap();
        let (repo, other) = (RepoId::random(), RepoId::random());
        let pack = pack(&[b"one", b"two"]);
        index.insert(&repo, &pack.pack, &pack.trailer).unwrap();
        let wanted = [ChunkId::of(b"two"), ChunkId::of(b"three")];

        let found = index.lookup(&repo, &wanted).unwrap();
        let expected: Vec<_> = pack.trailer.chunk_locations(&pack.pack.id).collect();
        assert_eq!(
            found[0],
            Some(Indexed {
                location: expected[1].1,
                pack: pack.pack
            })
        );
        assert_eq!(found[1], None);
        assert_eq!(index.lookup(&other, &wanted).unwrap(), [None, None]);

        index.remove(&repo, &pack.pack.id).unwrap();
        assert!(!index.has_pack(&repo, &pack.pack.id).unwrap());
        assert_eq!(index.lookup(&repo, &wanted).unwrap(), [None, None]);
    }

    #[test]
    fn the_first_place_of_a_chunk_stays() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(dir.path()).unwrap();
        let repo = RepoId::random();
        let (first, second) = (pack(&[b"same"]), pack(&[b"same", b"new"]));
        index.insert(&repo, &first.pack, &first.trailer).unwrap();
        index.insert(&repo, &second.pack, &second.trailer).unwrap();
        let found = index
            .lookup(&repo, &[ChunkId::of(b"same"), ChunkId::of(b"new")])
            .unwrap();
        let packs: Vec<_> = found.iter().map(|found| found.unwrap().pack.id).collect();
        assert_eq!(packs, [first.pack.id, second.pack.id]);
    }

    #[test]
    fn a_damaged_database_is_rebuilt() {
        let dir = tempfile::tempdir().unwrap();
        let repo = RepoId::random();
        let pack = pack(&[b"one"]);
        Index::open(dir.path())
            .unwrap()
            .insert(&repo, &pack.pack, &pack.trailer)
            .unwrap();
        for file in std::fs::read_dir(dir.path().join("rocksdb")).unwrap() {
            std::fs::write(file.unwrap().path(), b"not a database").unwrap();
        }
        let index = Index::open(dir.path()).unwrap();
        assert_eq!(index.lookup(&repo, &[ChunkId::of(b"one")]).unwrap(), [None]);
        index.insert(&repo, &pack.pack, &pack.trailer).unwrap();
        assert!(index.lookup(&repo, &[ChunkId::of(b"one")]).unwrap()[0].is_some());
    }
}
