//! The bounded local cache of pack bytes.
//!
//! Each remote has its own folder, so a pack is only found by clients that fetched it from the same
//! remote with the same credentials. Each pack has a sparse file with its layout; fetched ranges
//! are written at their offsets. Nothing records the ranges: a frame is read and verified by its
//! hash. So a crash, a torn write or a damaged disk costs a fetch and can never return wrong bytes,
//! and no write needs an fsync. When the cache exceeds its limit, whole packs are evicted, least
//! recently used first.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::eviction::{Usage, choose_evictions};
use super::lost_packs::LostPacks;
use super::pack_files::PackFiles;
use super::remote_dir::{directory_entries, list_remotes, remote_folder};
use crate::id::PackId;
use crate::pack;
use crate::remote::RemoteId;

/// A file's time of last use is written to the disk at most this often.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// Packs of all remotes on the local disk, with one limit for their sum.
#[derive(Debug)]
pub struct PackCache {
    root: PathBuf,
    lost: LostPacks,
    limit: u64,
    state: Mutex<PackCacheState>,
}

/// A pack of a remote.
type Held = (RemoteId, PackId);

#[derive(Debug, Default)]
struct PackCacheState {
    packs: HashMap<Held, Usage>,
    bytes: u64,
    /// Whether the directory has been scanned; until then `packs` only lists those that this
    /// process has used.
    scanned: bool,
    /// The files of remotes that are in use.
    remotes: HashMap<RemoteId, Weak<PackFiles>>,
}

/// The packs of one remote in a [`PackCache`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mirror {
    cache: Arc<PackCache>,
    remote: RemoteId,
    files: Arc<PackFiles>,
}

impl PackCache {
    /// Uses the store directory `root`, up to `limit` bytes. Nothing is read until something is asked
    /// for.
    pub fn new(root: impl Into<PathBuf>, limit: u64) -> Self {
        let root = root.into();
        Self {
            lost: LostPacks::new(&root),
            root,
            limit,
            state: Mutex::default(),
        }
    }

    /// The packs of one remote, and of no other.
    pub fn of(self: &Arc<Self>, remote: RemoteId) -> Mirror {
        let mut state = self.state.lock();
        state.remotes.retain(|_, files| files.strong_count() > 0);
        let opened = state.remotes.get(&remote).and_then(Weak::upgrade);
        let files =
            opened.unwrap_or_else(|| Arc::new(PackFiles::new(remote_folder(&self.root, &remote))));
        state.remotes.insert(remote, Arc::downgrade(&files));
        Mirror {
            cache: Arc::clone(self),
            remote,
            files,
        }
    }

    /// Scans the disk once, before the first eviction.
    fn scan(&self, state: &mut PackCacheState) {
        if std::mem::replace(&mut state.scanned, true) {
            return;
        }
        for (remote, folder) in list_remotes(&self.root) {
            for file in directory_entries(&folder.join("packs"))
                .flat_map(|folder| directory_entries(&folder.path()))
            {
                let Some(pack) = file.file_name().to_str().and_then(|name| name.parse().ok())
                else {
                    continue;
                };
                let Ok(metadata) = file.metadata() else {
                    continue;
                };
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                state.packs.insert(
                    (remote, pack),
                    Usage {
                        bytes: metadata.blocks() * 512,
                        used,
                    },
                );
            }
        }
        state.bytes = state.packs.values().map(|usage| usage.bytes).sum();
    }

    fn evict(&self, state: &mut PackCacheState, keep: &Held) {
        for held in choose_evictions(&state.packs, self.limit, keep) {
            if let Some(usage) = state.packs.remove(&held) {
                state.bytes = state.bytes.saturating_sub(usage.bytes);
            }
            let (remote, pack) = held;
            let path = remote_folder(&self.root, &remote).join(pack::object_key(&pack).as_str());
            if let Err(error) = fs::remove_file(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!("cannot remove the local copy of pack {pack}: {error}");
            }
            // Only now, or a reader could open the old file once more and keep it.
            if let Some(files) = state.remotes.get(&remote).and_then(Weak::upgrade) {
                files.forget(&pack);
            }
        }
    }

    /// Bytes on the disk.
    pub fn bytes(&self) -> u64 {
        let mut state = self.state.lock();
        self.scan(&mut state);
        state.bytes
    }

    /// The limit in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}

impl Mirror {
    /// Reads a range, if it might be there. The caller verifies the bytes.
    ///
    /// A range that was never written reads as zeros, and is taken as missing without hashing it.
    /// A frame of nothing but zeros, stored raw because it is so small, is fetched every time.
    pub fn read(&self, pack: &PackId, offset: u32, length: u32) -> Option<Vec<u8>> {
        let bytes = match self.files.read(pack, offset, length) {
            Ok(bytes) => bytes?,
            Err(error) => {
                tracing::warn!("cannot read the local copy of pack {pack}: {error}");
                return None;
            }
        };
        if bytes.iter().all(|byte| *byte == 0) {
            return None;
        }
        self.touch(pack);
        Some(bytes)
    }

    /// Notes that the remote does not have a pack.
    pub(super) fn note_lost(&self, pack: &PackId) {
        self.cache.lost.add(pack);
    }

    /// The notes of packs that the remote lost or damaged.
    pub(crate) fn lost_packs(&self) -> &LostPacks {
        &self.cache.lost
    }

    /// Whether a range seems to be there, from its first bytes. It does not count as a use.
    pub fn has(&self, pack: &PackId, offset: u32, length: u32) -> bool {
        let read = self.files.read(pack, offset, length.min(64));
        read.is_ok_and(|bytes| bytes.is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0)))
    }

    fn touch(&self, pack: &PackId) {
        let now = SystemTime::now();
        let mut state = self.cache.state.lock();
        let usage = state.packs.entry((self.remote, *pack)).or_insert(Usage {
            bytes: 0,
            used: SystemTime::UNIX_EPOCH,
        });
        let due = now
            .duration_since(usage.used)
            .is_ok_and(|age| age > TOUCH_EVERY);
        if due {
            usage.used = now;
            drop(state);
            if let Ok(file) = File::open(self.files.path(pack)) {
                // Only the order of eviction after a restart depends on it.
                let _ = file.set_modified(now);
            }
        }
    }

    /// Writes a range that was fetched, then makes room if the limit is passed.
    pub fn write(&self, pack: &PackId, offset: u32, bytes: &[u8]) -> io::Result<()> {
        let path = self.files.path(pack);
        let file = match OpenOptions::new().write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                // Another process may have evicted the file that this one has open for reading.
                self.files.forget(pack);
                let mut options = OpenOptions::new();
                options
                    .create(true)
                    .truncate(false)
                    .write(true)
                    .open(&path)?
            }
            other => other?,
        };
        file.write_all_at(bytes, u64::from(offset))?;
        let held = (self.remote, *pack);
        let mut state = self.cache.state.lock();
        self.cache.scan(&mut state);
        let usage = state.packs.entry(held).or_insert(Usage {
            bytes: 0,
            used: SystemTime::now(),
        });
        usage.bytes += bytes.len() as u64;
        usage.used = SystemTime::now();
        state.bytes += bytes.len() as u64;
        if state.bytes > self.cache.limit {
            self.cache.evict(&mut state, &held);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> RemoteId {
        RemoteId::of_url("here:")
    }

    #[test]
    fn ranges_are_kept_and_holes_are_missing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Arc::new(PackCache::new(dir.path(), 1 << 20)).of(here());
        let pack = PackId::random();
        assert_eq!(cache.read(&pack, 0, 10), None);
        cache.write(&pack, 1000, b"some bytes").unwrap();
        assert_eq!(
            cache.read(&pack, 1000, 10).as_deref(),
            Some(&b"some bytes"[..])
        );
        assert!(cache.has(&pack, 1000, 10) && !cache.has(&pack, 0, 100));
        assert_eq!(cache.read(&pack, 0, 100), None);
        assert_eq!(cache.read(&pack, 1005, 100), None);
    }

    #[test]
    fn the_limit_holds_across_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let packs: Vec<_> = (0..10).map(|_| PackId::random()).collect();
        for pack in &packs {
            // A new cache each time: the limit must not depend on the memory of one process.
            Arc::new(PackCache::new(dir.path(), 1 << 20))
                .of(here())
                .write(pack, 0, &[1; 256 << 10])
                .unwrap();
        }
        let cache = Arc::new(PackCache::new(dir.path(), 1 << 20));
        assert!(cache.bytes() <= 1 << 20, "{}", cache.bytes());
        assert!(cache.of(here()).read(&packs[9], 0, 1000).is_some());
    }

    #[test]
    fn remotes_see_nothing_of_each_other_and_share_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Arc::new(PackCache::new(dir.path(), 1 << 20));
        let (one, other) = (cache.of(here()), cache.of(RemoteId::of_url("other:")));
        let pack = PackId::random();
        one.write(&pack, 0, &[1; 1000]).unwrap();
        assert!(one.read(&pack, 0, 1000).is_some());
        assert!(!other.has(&pack, 0, 1000));
        assert_eq!(other.read(&pack, 0, 1000), None);
        other.write(&pack, 0, &[2; 1000]).unwrap();
        assert_eq!(one.read(&pack, 0, 1000), Some(vec![1; 1000]));
        // Fetches of one cache evict packs of the other, even open ones.
        for _ in 0..8 {
            let pack = PackId::random();
            one.write(&pack, 0, &[3; 256 << 10]).unwrap();
        }
        assert!(cache.bytes() <= 1 << 20, "{}", cache.bytes());
        assert_eq!(other.read(&pack, 0, 1000), None);
    }
}
