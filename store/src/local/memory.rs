//! Decoded frames in memory.

use std::sync::Arc;

use crate::frame;
use crate::id::FrameHash;
use crate::remote::RemoteId;

/// Default limit of a process in bytes.
const LIMIT: u64 = 48 << 20;
/// Overhead of a cached frame in bytes.
const ENTRY: u64 = 128;

#[derive(Clone)]
struct FrameWeight;

/// A frame of a remote.
type Held = (RemoteId, FrameHash);

impl quick_cache::Weighter<Held, Arc<Vec<u8>>> for FrameWeight {
    fn weight(&self, _: &Held, frame: &Arc<Vec<u8>>) -> u64 {
        frame.len() as u64 + ENTRY
    }
}

/// The most recently read frames, decoded, by remote and the hash of their stored bytes. Cheap to
/// clone; clones share everything, and readers of any number of remotes may share one. A frame is
/// only found by clients that read it from the same remote with the same credentials.
#[derive(Clone)]
pub struct FrameMemory(Arc<quick_cache::sync::Cache<Held, Arc<Vec<u8>>, FrameWeight>>);

impl std::fmt::Debug for FrameMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameMemory")
            .field("bytes", &self.0.weight())
            .finish_non_exhaustive()
    }
}

impl Default for FrameMemory {
    fn default() -> Self {
        Self::new(LIMIT)
    }
}

impl FrameMemory {
    /// Creates a cache of at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        let frames = (limit / frame::TARGET as u64).max(16) as usize;
        let cache = quick_cache::sync::Cache::with_weighter(frames, limit, FrameWeight);
        Self(Arc::new(cache))
    }

    /// Returns the frame, or the result of `read`, which runs once for all concurrent callers.
    pub(super) fn get_or_read<E>(
        &self,
        remote: RemoteId,
        hash: &FrameHash,
        read: impl FnOnce() -> Result<Arc<Vec<u8>>, E>,
    ) -> Result<Arc<Vec<u8>>, E> {
        self.0.get_or_insert_with(&(remote, *hash), read)
    }

    pub(super) fn insert(&self, remote: RemoteId, hash: FrameHash, frame: Arc<Vec<u8>>) {
        self.0.insert((remote, hash), frame);
    }
}
