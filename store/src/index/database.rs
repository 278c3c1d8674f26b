//! RocksDB; the only file that knows it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, Options, WriteBatch};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

use super::indexed::Indexed;
use super::value::{ChunkValue, PackValue, decode_pack, domain_key, encode_pack};
use crate::error::{Error, Result};
use crate::frame::ChunkLocation;
use crate::id::{ChunkId, DomainId, PackId};
use crate::pack::{PackRef, Trailer};

const CHUNKS: &str = "chunks";
const PACKS: &str = "packs";
const USED: &str = "used";
/// The number of domains that are kept, the most recently used first. Each pull request creates
/// one, and so does each job with fresh credentials.
const DOMAINS: usize = 128;
/// How long a note of a domain's use counts: a daemon that runs for weeks notes it again.
const NOTED: Duration = Duration::from_secs(3600);
/// Memory for blocks read from disk.
const BLOCK_CACHE: usize = 16 << 20;
/// Memory for rows not yet written to a table, per column family.
const WRITE_BUFFER: usize = 8 << 20;

pub(super) struct Database {
    directory: PathBuf,
    /// `None` only while it is being replaced.
    db: Option<DB>,
    /// Domains whose use this process has noted, and when.
    noted: Mutex<HashMap<DomainId, Instant>>,
}

fn database_error(error: rocksdb::Error) -> Error {
    Error::Index(error.into_string())
}

fn database_options() -> (Options, Options) {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE));
    table.set_bloom_filter(10.0, false);
    let mut family = Options::default();
    family.set_block_based_table_factory(&table);
    family.set_write_buffer_size(WRITE_BUFFER);
    let mut db = Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    db.set_max_open_files(128);
    db.set_keep_log_file_num(1);
    db.set_max_log_file_size(1 << 20);
    db.set_max_total_wal_size(32 << 20);
    (db, family)
}

fn open_database(path: &Path) -> Result<DB, rocksdb::Error> {
    let (db, family) = database_options();
    let families =
        [CHUNKS, PACKS, USED].map(|name| ColumnFamilyDescriptor::new(name, family.clone()));
    DB::open_cf_descriptors(&db, path, families)
}

impl Database {
    pub(super) fn open(directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        let mut database = Self {
            directory: directory.to_owned(),
            db: None,
            noted: Mutex::default(),
        };
        match open_database(&database.path()) {
            Ok(db) => database.db = Some(db),
            // Another process has it: replacing it would pull it from under that process.
            Err(error) if error.kind() == rocksdb::ErrorKind::IOError && is_locked(&error) => {
                return Err(database_error(error));
            }
            Err(error) => {
                tracing::warn!("cannot open the local index, rebuilding it: {error}");
                database.reset()?;
            }
        }
        if let Err(error) = database.forget_domains(DOMAINS) {
            tracing::warn!("cannot remove old index domains: {error}");
        }
        Ok(database)
    }

    fn path(&self) -> PathBuf {
        self.directory.join("domains")
    }

    /// Replaces the database by an empty one.
    pub(super) fn reset(&mut self) -> Result<()> {
        self.db = None;
        self.noted.lock().clear();
        let path = self.path();
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", path)(error));
            }
            _ => {}
        }
        self.db = Some(open_database(&path).map_err(database_error)?);
        Ok(())
    }

    fn db(&self) -> Result<&DB> {
        self.db
            .as_ref()
            .ok_or_else(|| Error::Index("it could not be rebuilt".to_owned()))
    }

    fn family<'a>(&self, db: &'a DB, name: &str) -> Result<&'a rocksdb::ColumnFamily> {
        db.cf_handle(name)
            .ok_or_else(|| Error::Index(format!("it has no column family {name}")))
    }

    pub(super) fn lookup(
        &self,
        domain: &DomainId,
        chunks: &[ChunkId],
    ) -> Result<Vec<Option<Indexed>>> {
        let db = self.db()?;
        self.note(db, domain)?;
        let family = self.family(db, CHUNKS)?;
        let mut keys: Vec<_> = chunks
            .iter()
            .enumerate()
            .map(|(n, id)| (domain_key(domain, &id.0), n))
            .collect();
        keys.sort_unstable();
        let values = db.batched_multi_get_cf(family, keys.iter().map(|(key, _)| key), true);
        let mut packs = HashMap::new();
        let mut found = vec![None; chunks.len()];
        for ((_, number), value) in keys.iter().zip(values) {
            let Some(value) = value.map_err(database_error)? else {
                continue;
            };
            let value = ChunkValue::read_from_bytes(&value)
                .map_err(|_| Error::Index("a chunk's entry has the wrong length".to_owned()))?;
            let pack = match packs.entry(value.pack) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(self.pack(db, domain, &value.pack)?)
                }
            };
            let pack = pack.as_ref().filter(|pack| value.is_in(&pack.pack));
            found[*number] = pack.and_then(|pack| {
                let frame = *pack.frames.get(value.frame.get() as usize)?;
                let (offset, length) = (value.offset.get(), value.length.get());
                let location = ChunkLocation {
                    frame,
                    offset,
                    length,
                };
                Some(Indexed {
                    location,
                    pack: pack.pack,
                })
            });
        }
        Ok(found)
    }

    /// Notes that a domain is used, once in [`NOTED`].
    fn note(&self, db: &DB, domain: &DomainId) -> Result<()> {
        let known = self.noted.lock().insert(*domain, Instant::now());
        if let Some(noted) = known.filter(|noted| noted.elapsed() < NOTED) {
            self.noted.lock().insert(*domain, noted);
            return Ok(());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.unwrap_or_default().as_secs().to_be_bytes();
        // Only the order in which domains are forgotten depends on it. A full disk must not make a
        // lookup fail, because a failed lookup drops the whole index.
        if let Err(error) = db.put_cf(self.family(db, USED)?, domain.0, seconds) {
            self.noted.lock().remove(domain);
            tracing::warn!("cannot record the use of an index domain: {error}");
        }
        // A daemon lives for weeks, and each pull request brings a domain.
        let is_new_here = known.is_none() && self.noted.lock().len() > DOMAINS;
        if is_new_here && let Err(error) = self.forget_domains(DOMAINS) {
            tracing::warn!("cannot remove old index domains: {error}");
        }
        Ok(())
    }

    /// Removes the least recently used domains, except for the last `keep`.
    fn forget_domains(&self, keep: usize) -> Result<()> {
        let db = self.db()?;
        let used = self.family(db, USED)?;
        let mut domains = Vec::new();
        for entry in db.iterator_cf(used, rocksdb::IteratorMode::Start) {
            let (domain, seconds) = entry.map_err(database_error)?;
            if let Ok(domain) = <[u8; 16]>::try_from(&*domain) {
                domains.push((seconds, DomainId(domain)));
            }
        }
        domains.sort_unstable();
        let excess = domains.len().saturating_sub(keep);
        for (_, domain) in domains.drain(..excess) {
            // Behind every name that a domain can have.
            let end = domain_key(&domain, &[0xFF; 33]);
            for family in [CHUNKS, PACKS] {
                db.delete_range_cf(self.family(db, family)?, &domain.0[..], &end[..])
                    .map_err(database_error)?;
            }
            db.delete_cf(used, domain.0).map_err(database_error)?;
            self.noted.lock().remove(&domain);
        }
        Ok(())
    }

    /// The domains that the database has packs of.
    pub(super) fn domains(&self) -> Result<HashSet<DomainId>> {
        let db = self.db()?;
        let family = self.family(db, PACKS)?;
        let mut domains = HashSet::new();
        let mut packs = db.raw_iterator_cf(family);
        packs.seek_to_first();
        while let Some(domain) = packs.key().and_then(|key| key.first_chunk::<16>()) {
            let domain = DomainId(*domain);
            domains.insert(domain);
            // On to the first pack of the next one.
            packs.seek(domain_key(&domain, &[0xFF; 17]));
        }
        packs.status().map_err(database_error)?;
        Ok(domains)
    }

    fn pack(&self, db: &DB, domain: &DomainId, id: &PackId) -> Result<Option<PackValue>> {
        let family = self.family(db, PACKS)?;
        let value = db
            .get_pinned_cf(family, domain_key(domain, &id.0))
            .map_err(database_error)?;
        value
            .map(|value| {
                decode_pack(id, &value)
                    .ok_or_else(|| Error::Index("a pack's entry is malformed".to_owned()))
            })
            .transpose()
    }

    pub(super) fn pack_ref(&self, domain: &DomainId, pack: &PackId) -> Result<Option<PackRef>> {
        let value = self.pack(self.db()?, domain, pack)?;
        Ok(value.map(|value| value.pack))
    }

    pub(super) fn insert(
        &self,
        domain: &DomainId,
        pack: &PackRef,
        trailer: &Trailer,
    ) -> Result<()> {
        let Some(hash) = &pack.hash else {
            return Err(Error::Index(format!(
                "the trailer of pack {} has no hash",
                pack.id
            )));
        };
        let mut trailer_name = [0; 8];
        trailer_name.copy_from_slice(&hash.0[..8]);
        let db = self.db()?;
        let (chunks, packs) = (self.family(db, CHUNKS)?, self.family(db, PACKS)?);
        let ids: Vec<_> = trailer.chunks.iter().map(|chunk| chunk.id).collect();
        let known = self.lookup(domain, &ids)?;
        let mut batch = WriteBatch::default();
        let mut listed = trailer.chunks.iter().zip(known);
        for (number, frame) in trailer.frames.iter().enumerate() {
            let mut offset = 0;
            for (chunk, known) in listed.by_ref().take(frame.chunks.get() as usize) {
                let value = ChunkValue {
                    pack: pack.id,
                    frame: U32::new(number as u32),
                    offset: U32::new(offset),
                    length: chunk.length,
                    trailer: trailer_name,
                };
                offset += chunk.length.get();
                // An entry with another length is invalid: the save that stored this chunk rejected
                // it.
                let has_length = |known: Indexed| known.location.length == chunk.length.get();
                if !known.is_some_and(has_length) {
                    batch.put_cf(chunks, domain_key(domain, &chunk.id.0), value.as_bytes());
                }
            }
        }
        batch.put_cf(
            packs,
            domain_key(domain, &pack.id.0),
            encode_pack(pack, hash, trailer),
        );
        db.write(batch).map_err(database_error)
    }

    pub(super) fn remove(&self, domain: &DomainId, pack: &PackId) -> Result<()> {
        let db = self.db()?;
        db.delete_cf(self.family(db, PACKS)?, domain_key(domain, &pack.0))
            .map_err(database_error)
    }
}

fn is_locked(error: &rocksdb::Error) -> bool {
    error.to_string().contains("lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameBuilder;
    use crate::pack::PackWriter;

    #[test]
    fn domains_that_nobody_uses_are_forgotten_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut frames = FrameBuilder::new().unwrap();
        frames.push(ChunkId::of(b"a"), b"a").unwrap();
        let mut writer = PackWriter::new();
        writer.push(&frames.finish().unwrap().unwrap());
        let pack = writer.finish();
        let domains = [0, 1, 0xFF].map(|byte| DomainId([byte; 16]));
        let database = Database::open(dir.path()).unwrap();
        for (age, domain) in domains.iter().enumerate() {
            database.insert(domain, &pack.pack, &pack.trailer).unwrap();
            let db = database.db().unwrap();
            let seconds = (100 - age as u64).to_be_bytes();
            let family = database.family(db, USED).unwrap();
            db.put_cf(family, domain.0, seconds).unwrap();
        }
        database.forget_domains(2).unwrap();
        let knows = |domain: &DomainId| {
            let found = database.lookup(domain, &[ChunkId::of(b"a")]).unwrap()[0];
            let pack = database.pack_ref(domain, &pack.pack.id).unwrap();
            assert_eq!(found.is_some(), pack.is_some());
            pack.is_some()
        };
        assert_eq!(domains.map(|domain| knows(&domain)), [true, true, false]);
        let left = database.domains().unwrap();
        assert_eq!(left, HashSet::from([domains[0], domains[1]]));
    }
}
