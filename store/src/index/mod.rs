//! The local index: where chunks are, so that a save stores only what is new.
//!
//! A RocksDB database that only one process has open: the daemon of the store directory. It is
//! never needed to mount or read a cache. Everything in it can be rebuilt from the trailers of the
//! packs, so a damaged database is removed and started afresh; the next save then reads a few
//! trailers more.
//!
//! No save waits for the database to take in a pack: the pack is known from memory, and safe in a
//! file, until a thread has written it when nobody asks for anything. As long as memory has all packs
//! of a repository, the database is not asked either.

mod database;
mod memory;
mod pending;
mod value;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use crate::error::{Error, Result};
use crate::frame::ChunkLocation;
use crate::id::{ChunkId, PackId, RepoId};
use crate::pack::{PackRef, Trailer};

use database::Database;
use memory::Memory;
use pending::{Journal, KnownPack};

/// How long nobody must have asked for anything before packs are written to the database.
const QUIET: Duration = Duration::from_millis(300);

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

/// The index of one store directory. Dropping it waits until everything is in the database.
pub struct Index {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    database: RwLock<Database>,
    journal: Journal,
    memory: Mutex<Memory>,
    changed: Condvar,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Index {
    /// Opens the index in `directory`, creating or rebuilding it when it must be.
    pub fn open(directory: &Path) -> Result<Self> {
        let mut database = Database::open(directory)?;
        let repositories = match database.repositories() {
            Ok(repositories) => repositories,
            Err(error) => {
                tracing::warn!("the local index can't be read and is rebuilt: {error}");
                database.reset()?;
                Default::default()
            }
        };
        let (journal, left) = Journal::open(directory.join("learnt"))?;
        let shared = Arc::new(Shared {
            memory: Mutex::new(Memory::new(repositories, left)),
            database: RwLock::new(database),
            journal,
            changed: Condvar::new(),
        });
        let writer = std::thread::Builder::new().name("index".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.write_all()
        });
        Ok(Self {
            shared,
            writer: Some(writer.map_err(Error::io("start", "the thread of the index"))?),
        })
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.shared.memory.lock().ending = true;
        self.shared.changed.notify_all();
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was reported when it happened; the packs are in the journal.
            let _ = writer.join();
        }
    }
}

impl Shared {
    /// Runs something on the database; one that fails is replaced by an empty one first.
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

    /// Writes packs to the database until the index is dropped.
    fn write_all(&self) {
        let mut memory = self.memory.lock();
        loop {
            let Some(pack) = memory.next_to_write() else {
                if memory.ending {
                    return;
                }
                self.changed.wait(&mut memory);
                continue;
            };
            let quiet = memory.last_use + QUIET;
            if Instant::now() < quiet && !memory.ending && !memory.is_crowded() {
                self.changed.wait_until(&mut memory, quiet);
                continue;
            }
            memory.writing = Some(Arc::clone(&pack));
            drop(memory);
            let written =
                self.run(|database| database.insert(&pack.repo, &pack.pack, &pack.trailer));
            if let Err(error) = written {
                let id = pack.pack.id;
                tracing::warn!("the local index does not take in pack {id}: {error}");
            }
            self.journal.forget(&pack);
            memory = self.memory.lock();
            memory.writing = None;
            memory.written(&pack);
            self.changed.notify_all();
        }
    }
}

/// A database that fails is replaced by an empty one: chunks are then stored once more.
impl ChunkIndex for Index {
    fn lookup(&self, repo: &RepoId, chunks: &[ChunkId]) -> Result<Vec<Option<Indexed>>> {
        // Memory first: what leaves it afterwards is in the database.
        let (packs, complete) = self.shared.memory.lock().packs_of(repo);
        let mut found = if complete {
            vec![None; chunks.len()]
        } else {
            self.shared.run(|database| database.lookup(repo, chunks))?
        };
        for (chunk, found) in chunks.iter().zip(&mut found) {
            if found.is_none() {
                *found = packs.iter().find_map(|pack| pack.get(chunk));
            }
        }
        Ok(found)
    }

    fn has_pack(&self, repo: &RepoId, pack: &PackId) -> Result<bool> {
        let (packs, complete) = self.shared.memory.lock().packs_of(repo);
        if packs.iter().any(|known| known.pack.id == *pack) {
            return Ok(true);
        }
        Ok(!complete && self.shared.run(|database| database.has_pack(repo, pack))?)
    }

    fn insert(&self, repo: &RepoId, pack: &PackRef, trailer: &Trailer) -> Result<()> {
        let pack = Arc::new(KnownPack::new(*repo, *pack, trailer.clone()));
        self.shared.journal.keep(&pack);
        let mut memory = self.shared.memory.lock();
        while memory.is_full() {
            self.shared.changed.wait(&mut memory);
        }
        memory.add(pack);
        self.shared.changed.notify_all();
        Ok(())
    }

    fn remove(&self, repo: &RepoId, pack: &PackId) -> Result<()> {
        let mut memory = self.shared.memory.lock();
        while memory
            .writing
            .as_ref()
            .is_some_and(|writing| writing.is(repo, pack))
        {
            self.shared.changed.wait(&mut memory);
        }
        for removed in memory.remove(repo, pack) {
            self.shared.journal.forget(&removed);
        }
        drop(memory);
        self.shared.run(|database| database.remove(repo, pack))
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
        for file in std::fs::read_dir(dir.path().join("domains")).unwrap() {
            std::fs::write(file.unwrap().path(), b"not a database").unwrap();
        }
        let index = Index::open(dir.path()).unwrap();
        assert_eq!(index.lookup(&repo, &[ChunkId::of(b"one")]).unwrap(), [None]);
        index.insert(&repo, &pack.pack, &pack.trailer).unwrap();
        assert!(index.lookup(&repo, &[ChunkId::of(b"one")]).unwrap()[0].is_some());
    }

    #[test]
    fn packs_that_wait_are_known_and_survive_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let (repo, other) = (RepoId::random(), RepoId::random());
        let (kept, gone) = (pack(&[b"kept"]), pack(&[b"gone"]));
        let pending = dir.path().join("learnt");
        // As a process that was killed leaves it.
        let (journal, _) = Journal::open(pending.clone()).unwrap();
        for pack in [&kept, &gone] {
            journal.keep(&KnownPack::new(repo, pack.pack, pack.trailer.clone()));
        }
        std::fs::write(pending.join(format!("{other}-{}", kept.pack.id)), b"torn").unwrap();

        let index = Index::open(dir.path()).unwrap();
        assert!(index.has_pack(&repo, &kept.pack.id).unwrap());
        assert!(!index.has_pack(&other, &kept.pack.id).unwrap());
        index.remove(&repo, &gone.pack.id).unwrap();
        let wanted = [ChunkId::of(b"kept"), ChunkId::of(b"gone")];
        for _ in 0..2 {
            let found = index.lookup(&repo, &wanted).unwrap();
            assert_eq!(found[0].unwrap().pack, kept.pack);
            assert_eq!(found[1], None);
        }
        drop(index);
        assert_eq!(std::fs::read_dir(&pending).unwrap().count(), 0);
        let found = Index::open(dir.path()).unwrap().lookup(&repo, &wanted);
        assert_eq!(found.unwrap()[0].unwrap().pack, kept.pack);
    }
}
