//! The remotes that a daemon talks to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cachefs_store::local::{FrameReader, PackCache, ReaderOptions};
use cachefs_store::remote::{OpenRemote, RemoteSpec, RetryPolicy, open};
use parking_lot::Mutex;

use crate::error::Result;

/// A remote with the reader of its frames. Connections and memory are shared by all its users.
#[derive(Debug)]
pub(super) struct RemoteHandle {
    pub(super) open: OpenRemote,
    pub(super) reader: FrameReader,
}

/// Remotes by what it takes to reach them, credentials included: a client never gets to use
/// another client's.
#[derive(Debug, Default)]
pub(super) struct Remotes(Mutex<HashMap<Reach, Arc<RemoteHandle>>>);

/// How a remote is reached, and how long one request to it may take, in milliseconds.
type Reach = (RemoteSpec, Option<u64>);

impl Remotes {
    pub(super) fn get(
        &self,
        spec: &RemoteSpec,
        deadline_ms: Option<u64>,
        cache: &Arc<PackCache>,
    ) -> Result<Arc<RemoteHandle>> {
        let mut remotes = self.0.lock();
        if let Some(handle) = remotes.get(&(spec.clone(), deadline_ms)) {
            return Ok(Arc::clone(handle));
        }
        let policy = deadline_ms.map_or_else(RetryPolicy::default, |ms| {
            RetryPolicy::with_deadline(Duration::from_millis(ms))
        });
        let open = open(spec, policy)?;
        let reader = FrameReader::new(
            open.remote.clone(),
            Arc::clone(cache),
            &ReaderOptions::default(),
        );
        let handle = Arc::new(RemoteHandle { open, reader });
        remotes.insert((spec.clone(), deadline_ms), Arc::clone(&handle));
        Ok(handle)
    }

    pub(super) fn all(&self) -> Vec<Arc<RemoteHandle>> {
        self.0.lock().values().cloned().collect()
    }
}
