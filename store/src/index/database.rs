//! RocksDB; the only file that knows it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, Options, WriteBatch};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

use super::Indexed;
use super::value::{ChunkValue, PackValue, decode_pack, encode_pack, key};
use crate::error::{Error, Result};
use crate::frame::ChunkLocation;
use crate::id::{ChunkId, PackId, RepoId};
use crate::pack::{PackRef, Trailer};

const CHUNKS: &str = "chunks";
const PACKS: &str = "packs";
/// Memory for blocks read from disk.
const BLOCK_CACHE: usize = 16 << 20;
/// Memory for rows not yet written to a table, per column family.
const WRITE_BUFFER: usize = 8 << 20;

pub(super) struct Database {
    directory: PathBuf,
    /// `None` only while it is being replaced.
    db: Option<DB>,
}

fn failed(error: rocksdb::Error) -> Error {
    Error::Index(error.into_string())
}

fn options() -> (Options, Options) {
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

fn open(path: &Path) -> Result<DB, rocksdb::Error> {
    let (db, family) = options();
    let families = [CHUNKS, PACKS].map(|name| ColumnFamilyDescriptor::new(name, family.clone()));
    DB::open_cf_descriptors(&db, path, families)
}

impl Database {
    pub(super) fn open(directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        let mut database = Self {
            directory: directory.to_owned(),
            db: None,
        };
        match open(&database.path()) {
            Ok(db) => database.db = Some(db),
            // Another process has it: replacing it would pull it from under that process.
            Err(error) if error.kind() == rocksdb::ErrorKind::IOError && is_locked(&error) => {
                return Err(failed(error));
            }
            Err(error) => {
                tracing::warn!("the local index can't be opened and is rebuilt: {error}");
                database.reset()?;
            }
        }
        Ok(database)
    }

    fn path(&self) -> PathBuf {
        self.directory.join("domains")
    }

    /// Replaces the database by an empty one.
    pub(super) fn reset(&mut self) -> Result<()> {
        self.db = None;
        let path = self.path();
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", path)(error));
            }
            _ => {}
        }
        self.db = Some(open(&path).map_err(failed)?);
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

    pub(super) fn lookup(&self, repo: &RepoId, chunks: &[ChunkId]) -> Result<Vec<Option<Indexed>>> {
        let db = self.db()?;
        let family = self.family(db, CHUNKS)?;
        let mut keys: Vec<_> = chunks
            .iter()
            .enumerate()
            .map(|(n, id)| (key(repo, &id.0), n))
            .collect();
        keys.sort_unstable();
        let values = db.batched_multi_get_cf(family, keys.iter().map(|(key, _)| key), true);
        let mut packs = HashMap::new();
        let mut found = vec![None; chunks.len()];
        for ((_, number), value) in keys.iter().zip(values) {
            let Some(value) = value.map_err(failed)? else {
                continue;
            };
            let value = ChunkValue::read_from_bytes(&value)
                .map_err(|_| Error::Index("a chunk's entry has the wrong length".to_owned()))?;
            let pack = match packs.entry(value.pack) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(self.pack(db, repo, &value.pack)?)
                }
            };
            found[*number] = pack.as_ref().and_then(|pack| {
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

    /// The repositories that the database has packs of.
    pub(super) fn repositories(&self) -> Result<HashSet<RepoId>> {
        let db = self.db()?;
        let family = self.family(db, PACKS)?;
        let mut repositories = HashSet::new();
        let mut packs = db.raw_iterator_cf(family);
        packs.seek_to_first();
        while let Some(repo) = packs.key().and_then(|key| key.first_chunk::<16>()) {
            let repo = RepoId(*repo);
            repositories.insert(repo);
            // On to the first pack of the next one.
            packs.seek(key(&repo, &[0xFF; 17]));
        }
        packs.status().map_err(failed)?;
        Ok(repositories)
    }

    fn pack(&self, db: &DB, repo: &RepoId, id: &PackId) -> Result<Option<PackValue>> {
        let family = self.family(db, PACKS)?;
        let value = db.get_pinned_cf(family, key(repo, &id.0)).map_err(failed)?;
        value
            .map(|value| {
                decode_pack(id, &value)
                    .ok_or_else(|| Error::Index("a pack's entry is malformed".to_owned()))
            })
            .transpose()
    }

    pub(super) fn has_pack(&self, repo: &RepoId, pack: &PackId) -> Result<bool> {
        Ok(self.pack(self.db()?, repo, pack)?.is_some())
    }

    pub(super) fn insert(&self, repo: &RepoId, pack: &PackRef, trailer: &Trailer) -> Result<()> {
        let Some(hash) = &pack.hash else {
            return Err(Error::Index(format!(
                "the trailer of pack {} has no hash",
                pack.id
            )));
        };
        let db = self.db()?;
        let (chunks, packs) = (self.family(db, CHUNKS)?, self.family(db, PACKS)?);
        let ids: Vec<_> = trailer.chunks.iter().map(|chunk| chunk.id).collect();
        let known = self.lookup(repo, &ids)?;
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
                };
                offset += chunk.length.get();
                if known.is_none() {
                    batch.put_cf(chunks, key(repo, &chunk.id.0), value.as_bytes());
                }
            }
        }
        batch.put_cf(
            packs,
            key(repo, &pack.id.0),
            encode_pack(pack, hash, trailer),
        );
        db.write(batch).map_err(failed)
    }

    pub(super) fn remove(&self, repo: &RepoId, pack: &PackId) -> Result<()> {
        let db = self.db()?;
        db.delete_cf(self.family(db, PACKS)?, key(repo, &pack.0))
            .map_err(failed)
    }
}

fn is_locked(error: &rocksdb::Error) -> bool {
    error.to_string().contains("lock")
}
