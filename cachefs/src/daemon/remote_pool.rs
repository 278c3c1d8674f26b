//! The remotes that a daemon talks to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cachefs_store::local::{FrameMemory, FrameReader, PackCache, ReadStats};
use cachefs_store::remote::{OpenRemote, RemoteSpec, RemoteTraffic, RetryPolicy, open_remote};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::error::Result;

/// How long a remote that nothing is mounted from is kept for the next job, with its connections. Jobs
/// often have credentials of their own, so that no other ever uses the same.
const LINGER: Duration = Duration::from_secs(300);
/// How often it is looked for such.
const EVERY: Duration = Duration::from_secs(60);

/// A remote with the reader of its frames. Connections and memory are shared by all its users.
#[derive(Debug)]
pub(super) struct RemoteHandle {
    pub(super) open: OpenRemote,
    pub(super) reader: FrameReader,
    /// Time at which its last use began or ended.
    used: Mutex<Instant>,
}

impl RemoteHandle {
    /// Notes a use. Holders call this again before they let go.
    pub(super) fn touch(&self) {
        *self.used.lock() = Instant::now();
    }

    fn idle(&self) -> Duration {
        self.used.lock().elapsed()
    }
}

/// Open remotes by their full settings, credentials included, so that no client ever uses the
/// credentials of another.
#[derive(Debug, Default)]
pub(super) struct Remotes {
    open: Mutex<DaemonRemote>,
    memory: FrameMemory,
}

#[derive(Debug, Default)]
struct DaemonRemote {
    handles: HashMap<RemoteReach, Arc<RemoteHandle>>,
    /// Totals of closed remotes.
    past: (RemoteTraffic, ReadStats),
}

/// How a remote is reached, and how long one request to it may take, in milliseconds.
type RemoteReach = (RemoteSpec, Option<u64>);

impl Remotes {
    /// Drops those that are not used any more, from time to time, for as long as there are users.
    pub(super) fn sweep(self: &Arc<Self>, runtime: &Handle) {
        let remotes = Arc::downgrade(self);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                match remotes.upgrade() {
                    Some(remotes) => remotes.open.lock().drop_idle(LINGER),
                    None => return,
                }
            }
        });
    }

    pub(super) fn get(
        &self,
        spec: &RemoteSpec,
        deadline_ms: Option<u64>,
        cache: &Arc<PackCache>,
    ) -> Result<Arc<RemoteHandle>> {
        let mut remotes = self.open.lock();
        if let Some(handle) = remotes.handles.get(&(spec.clone(), deadline_ms)) {
            handle.touch();
            return Ok(Arc::clone(handle));
        }
        let policy = RetryPolicy::within(deadline_ms.map(Duration::from_millis));
        let open = open_remote(spec, policy)?;
        let reader = FrameReader::new(open.remote.clone(), Arc::clone(cache), self.memory.clone());
        let handle = Arc::new(RemoteHandle {
            open,
            reader,
            used: Mutex::new(Instant::now()),
        });
        remotes
            .handles
            .insert((spec.clone(), deadline_ms), Arc::clone(&handle));
        Ok(handle)
    }

    /// Totals of all remotes.
    pub(super) fn stats(&self) -> (RemoteTraffic, ReadStats) {
        let remotes = self.open.lock();
        let mut stats = remotes.past;
        for handle in remotes.handles.values() {
            add_stats(&mut stats, handle);
        }
        stats
    }
}

impl DaemonRemote {
    /// Forgets those that nobody holds and that were not used for so long.
    fn drop_idle(&mut self, limit: Duration) {
        let past = &mut self.past;
        self.handles.retain(|_, handle| {
            let stays = Arc::strong_count(handle) > 1 || handle.idle() <= limit;
            if !stays {
                add_stats(past, handle);
            }
            stays
        });
    }
}

fn add_stats((traffic, reads): &mut (RemoteTraffic, ReadStats), handle: &RemoteHandle) {
    *traffic += handle.open.traffic();
    let stats = handle.reader.stats();
    reads.local_frames += stats.local_frames;
    reads.demand_bytes += stats.demand_bytes;
    reads.prefetch_bytes += stats.prefetch_bytes;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(dir: &std::path::Path, region: &str) -> RemoteSpec {
        RemoteSpec {
            url: format!("file://{}", dir.display()),
            region: Some(region.to_owned()),
            ..RemoteSpec::default()
        }
    }

    #[test]
    fn a_remote_is_kept_while_it_is_used_and_some_time_longer() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Arc::new(PackCache::new(dir.path(), 1 << 20));
        let remotes = Remotes::default();
        let count = || remotes.open.lock().handles.len();
        let used = remotes.get(&spec(dir.path(), "a"), None, &cache).unwrap();
        drop(remotes.get(&spec(dir.path(), "b"), None, &cache).unwrap());
        assert_eq!(count(), 2);
        remotes.open.lock().drop_idle(LINGER);
        assert_eq!(count(), 2);
        remotes.open.lock().drop_idle(Duration::ZERO);
        assert_eq!(count(), 1);
        let again = remotes.get(&spec(dir.path(), "a"), None, &cache).unwrap();
        assert!(Arc::ptr_eq(&used, &again));
    }

    #[test]
    fn what_was_done_with_a_remote_is_counted_when_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Arc::new(PackCache::new(dir.path(), 1 << 20));
        let remotes = Remotes::default();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let handle = remotes.get(&spec(dir.path(), "a"), None, &cache).unwrap();
        let listed = runtime.block_on(handle.open.remote.list("refs/"));
        drop((listed, handle));
        let before = remotes.stats();
        assert!(before.0 != RemoteTraffic::default());
        remotes.open.lock().drop_idle(Duration::ZERO);
        assert_eq!(remotes.open.lock().handles.len(), 0);
        assert_eq!(remotes.stats(), before);
    }
}
