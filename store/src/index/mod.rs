//! The local index: where chunks are, so that a save stores only what is new.
//!
//! A RocksDB database that only one process has open: the daemon of the store directory. It is
//! never needed to mount or read a cache. Everything in it can be rebuilt from the trailers of the
//! packs, so a damaged database is removed and recreated; the next save then reads a few more
//! trailers.
//!
//! A save never waits for the database to insert a pack. The pack is served from memory and is safe
//! in a file until a background thread writes it in an idle moment. As long as all packs of a
//! repository are in memory, lookups do not read the database either.

mod database;
mod domain;
mod indexed;
mod memory;
mod pending;
mod value;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use crate::error::{Error, Result};
use crate::id::{ChunkId, DomainId, PackId, TrailerHash};
use crate::pack::{PackRef, Trailer};

use database::Database;
pub use domain::Domains;
pub use indexed::Indexed;
use memory::Memory;
use pending::{Journal, KnownPack};

/// How long nobody must have asked for anything before packs are written to the database.
const QUIET: Duration = Duration::from_millis(300);

/// The lookups and updates that a save needs. Calls block and may come from any thread.
pub trait ChunkIndex: Send + Sync {
    /// Looks chunks up in these domains, the first one first; `None` for those that no pack holds
    /// that is known there.
    fn lookup(&self, domains: &[DomainId], chunks: &[ChunkId]) -> Result<Vec<Option<Indexed>>>;
    /// Whether one of these domains has the chunks of just this pack: same length, same trailer.
    fn has_pack(&self, domains: &[DomainId], pack: &PackRef) -> Result<bool>;
    /// Adds a pack and its chunks to a domain. A chunk that is known already keeps its older place.
    ///
    /// # Errors
    /// Also when the pack has no hash for its trailer, or the trailer is another.
    fn insert(&self, domain: &DomainId, pack: &PackRef, trailer: &Trailer) -> Result<()>;
    /// Takes a pack out of these domains, because the remote no longer has it. Its chunks count as
    /// unknown.
    fn remove(&self, domains: &[DomainId], pack: &PackId) -> Result<()>;
}

/// The index of one store directory. Dropping it waits until everything is in the database.
pub struct Index {
    shared: Arc<IndexShared>,
    writer: Option<JoinHandle<()>>,
}

struct IndexShared {
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
        let domains = match database.domains() {
            Ok(domains) => domains,
            Err(error) => {
                tracing::warn!("cannot read the local index, rebuilding it: {error}");
                database.reset()?;
                Default::default()
            }
        };
        let (journal, left) = Journal::open(directory.join("learnt"))?;
        let shared = Arc::new(IndexShared {
            memory: Mutex::new(Memory::new(domains, left)),
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

impl IndexShared {
    /// Runs something on the database; one that fails is replaced by an empty one first.
    fn run<T>(&self, work: impl Fn(&Database) -> Result<T>) -> Result<T> {
        let failed = match work(&self.database.read()) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        tracing::warn!("the local index failed, rebuilding it: {failed}");
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
                self.run(|database| database.insert(&pack.domain, &pack.pack, &pack.trailer));
            if let Err(error) = written {
                let id = pack.pack.id;
                tracing::warn!("cannot add pack {id} to the local index: {error}");
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
    fn lookup(&self, domains: &[DomainId], chunks: &[ChunkId]) -> Result<Vec<Option<Indexed>>> {
        let mut found = vec![None; chunks.len()];
        for domain in domains {
            let missing: Vec<usize> = (0..chunks.len()).filter(|n| found[*n].is_none()).collect();
            if missing.is_empty() {
                break;
            }
            let wanted: Vec<_> = missing.iter().map(|n| chunks[*n]).collect();
            for (number, here) in missing
                .into_iter()
                .zip(self.shared.lookup(domain, &wanted)?)
            {
                found[number] = here;
            }
        }
        Ok(found)
    }

    fn has_pack(&self, domains: &[DomainId], pack: &PackRef) -> Result<bool> {
        for domain in domains {
            if self.shared.pack(domain, &pack.id)? == Some(*pack) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn insert(&self, domain: &DomainId, pack: &PackRef, trailer: &Trailer) -> Result<()> {
        let mut bytes = Vec::with_capacity(trailer.encoded_len());
        trailer.encode(&mut bytes);
        if pack.hash != Some(TrailerHash::of(&bytes)) {
            return Err(Error::damaged(
                format!("pack {}", pack.id),
                "its trailer's hash differs from the one in a layer",
            ));
        }
        let pack = Arc::new(KnownPack::new(*domain, *pack, trailer.clone()));
        self.shared.journal.keep(&pack);
        let mut memory = self.shared.memory.lock();
        while memory.is_full() {
            self.shared.changed.wait(&mut memory);
        }
        memory.add(pack);
        self.shared.changed.notify_all();
        Ok(())
    }

    fn remove(&self, domains: &[DomainId], pack: &PackId) -> Result<()> {
        for domain in domains {
            self.shared.remove(domain, pack)?;
        }
        Ok(())
    }
}

impl IndexShared {
    fn lookup(&self, domain: &DomainId, chunks: &[ChunkId]) -> Result<Vec<Option<Indexed>>> {
        // Memory first: a pack that leaves memory after this line is already in the database.
        let (packs, complete) = self.memory.lock().packs_of(domain);
        let mut found = if complete {
            vec![None; chunks.len()]
        } else {
            self.run(|database| database.lookup(domain, chunks))?
        };
        for (chunk, found) in chunks.iter().zip(&mut found) {
            if found.is_none() {
                *found = packs.iter().find_map(|pack| pack.get(chunk));
            }
        }
        Ok(found)
    }

    fn pack(&self, domain: &DomainId, pack: &PackId) -> Result<Option<PackRef>> {
        let (packs, complete) = self.memory.lock().packs_of(domain);
        if let Some(known) = packs.iter().find(|known| known.pack.id == *pack) {
            return Ok(Some(known.pack));
        }
        match complete {
            true => Ok(None),
            false => self.run(|database| database.pack_ref(domain, pack)),
        }
    }

    fn remove(&self, domain: &DomainId, pack: &PackId) -> Result<()> {
        let mut memory = self.memory.lock();
        while memory
            .writing
            .as_ref()
            .is_some_and(|writing| writing.is(domain, pack))
        {
            self.changed.wait(&mut memory);
        }
        for removed in memory.remove(domain, pack) {
            self.journal.forget(&removed);
        }
        drop(memory);
        self.run(|database| database.remove(domain, pack))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameBuilder;
    use crate::pack::{FinishedPack, PackWriter};

    fn domain() -> DomainId {
        DomainId(PackId::random().0)
    }

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
        let (domain, other) = (domain(), domain());
        let pack = pack(&[b"one", b"two"]);
        index.insert(&domain, &pack.pack, &pack.trailer).unwrap();
        let wanted = [ChunkId::of(b"two"), ChunkId::of(b"three")];

        let found = index.lookup(&[domain], &wanted).unwrap();
        let expected: Vec<_> = pack.trailer.chunk_locations(&pack.pack.id).collect();
        assert_eq!(
            found[0],
            Some(Indexed {
                location: expected[1].1,
                pack: pack.pack
            })
        );
        assert_eq!(found[1], None);
        assert_eq!(index.lookup(&[other], &wanted).unwrap(), [None, None]);

        index.remove(&[domain], &pack.pack.id).unwrap();
        assert!(!index.has_pack(&[domain], &pack.pack).unwrap());
        assert_eq!(index.lookup(&[domain], &wanted).unwrap(), [None, None]);
    }

    #[test]
    fn the_first_place_of_a_chunk_stays() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(dir.path()).unwrap();
        let domain = domain();
        let (first, second) = (pack(&[b"same"]), pack(&[b"same", b"new"]));
        index.insert(&domain, &first.pack, &first.trailer).unwrap();
        index
            .insert(&domain, &second.pack, &second.trailer)
            .unwrap();
        let found = index
            .lookup(&[domain], &[ChunkId::of(b"same"), ChunkId::of(b"new")])
            .unwrap();
        let packs: Vec<_> = found.iter().map(|found| found.unwrap().pack.id).collect();
        assert_eq!(packs, [first.pack.id, second.pack.id]);
    }

    #[test]
    fn a_damaged_database_is_rebuilt() {
        let dir = tempfile::tempdir().unwrap();
        let domain = domain();
        let pack = pack(&[b"one"]);
        Index::open(dir.path())
            .unwrap()
            .insert(&domain, &pack.pack, &pack.trailer)
            .unwrap();
        for file in std::fs::read_dir(dir.path().join("domains")).unwrap() {
            std::fs::write(file.unwrap().path(), b"not a database").unwrap();
        }
        let index = Index::open(dir.path()).unwrap();
        assert_eq!(
            index.lookup(&[domain], &[ChunkId::of(b"one")]).unwrap(),
            [None]
        );
        index.insert(&domain, &pack.pack, &pack.trailer).unwrap();
        assert!(index.lookup(&[domain], &[ChunkId::of(b"one")]).unwrap()[0].is_some());
    }

    #[test]
    fn packs_that_wait_are_known_and_survive_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let (domain, other) = (domain(), domain());
        let (kept, gone) = (pack(&[b"kept"]), pack(&[b"gone"]));
        let pending = dir.path().join("learnt");
        // As a process that was killed leaves it.
        let (journal, _) = Journal::open(pending.clone()).unwrap();
        for pack in [&kept, &gone] {
            journal.keep(&KnownPack::new(domain, pack.pack, pack.trailer.clone()));
        }
        std::fs::write(pending.join(format!("{other}-{}", kept.pack.id)), b"torn").unwrap();

        let index = Index::open(dir.path()).unwrap();
        assert!(index.has_pack(&[domain], &kept.pack).unwrap());
        assert!(!index.has_pack(&[other], &kept.pack).unwrap());
        index.remove(&[domain], &gone.pack.id).unwrap();
        let wanted = [ChunkId::of(b"kept"), ChunkId::of(b"gone")];
        for _ in 0..2 {
            let found = index.lookup(&[domain], &wanted).unwrap();
            assert_eq!(found[0].unwrap().pack, kept.pack);
            assert_eq!(found[1], None);
        }
        drop(index);
        assert_eq!(std::fs::read_dir(&pending).unwrap().count(), 0);
        let found = Index::open(dir.path()).unwrap().lookup(&[domain], &wanted);
        assert_eq!(found.unwrap()[0].unwrap().pack, kept.pack);
    }

    #[test]
    fn a_domain_knows_nothing_of_what_another_was_told() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(dir.path()).unwrap();
        let (main, pull) = (domain(), domain());
        let (ours, theirs) = (pack(&[b"tool 1.0"]), pack(&[b"tool 2.0", b"tool 1.0"]));
        index.insert(&main, &ours.pack, &ours.trailer).unwrap();
        index.insert(&pull, &theirs.pack, &theirs.trailer).unwrap();
        let wanted = [ChunkId::of(b"tool 1.0"), ChunkId::of(b"tool 2.0")];
        let packs = |domains: &[DomainId]| -> Vec<_> {
            let found = index.lookup(domains, &wanted).unwrap();
            found
                .iter()
                .map(|found| found.map(|found| found.pack.id))
                .collect()
        };
        let (ours, theirs) = (Some(ours.pack.id), Some(theirs.pack.id));
        for _ in 0..2 {
            assert_eq!(packs(&[main]), [ours, None]);
            assert_eq!(packs(&[pull]), [theirs, theirs]);
            assert_eq!(packs(&[main, pull]), [ours, theirs]);
            // From memory the first time, then from the database.
            std::thread::sleep(QUIET * 2);
        }
    }

    #[test]
    fn a_pack_with_another_trailer_is_another_pack() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(dir.path()).unwrap();
        let domain = domain();
        let (honest, other) = (pack(&[b"one"]), pack(&[b"two"]));
        index
            .insert(&domain, &honest.pack, &honest.trailer)
            .unwrap();
        assert!(index.has_pack(&[domain], &honest.pack).unwrap());
        for hash in [None, other.pack.hash] {
            let pack = PackRef {
                hash,
                ..honest.pack
            };
            assert!(!index.has_pack(&[domain], &pack).unwrap());
            let refused = index.insert(&domain, &pack, &honest.trailer);
            assert!(matches!(refused, Err(Error::Damaged { .. })), "{hash:?}");
        }
    }
}
