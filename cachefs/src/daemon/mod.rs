//! The daemon: one per store directory, owner of the index and server of every view.
//!
//! It is started on demand, detached from whoever started it, and ends by itself when it has had
//! neither views nor connections for a while. Each connection and each view has threads of its
//! own; requests to remotes run on a small tokio runtime.

mod connection;
mod idle;
mod remotes;
mod state;
mod traces;
mod views;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::error::{Error, Result};
use crate::shares::Gate;
use crate::store_dir::StoreDir;
use crate::sys::lock::{LockError, LockFile};
use crate::sys::memory::release_large_buffers;
use crate::sys::socket;
use crate::sys::spawn::Readiness;

use idle::Activity;
use state::State;

/// Settings of a daemon.
#[derive(Debug, Clone)]
pub struct DaemonOptions {
    /// How long it stays when it has nothing to do.
    pub idle: Duration,
    /// Limit of the local cache of frames, in bytes.
    pub cache_limit: u64,
}

impl Default for DaemonOptions {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            cache_limit: 10 << 30,
        }
    }
}

/// Another command that only looks whether there is a daemon may hold the lock for an instant.
fn acquire(store: &StoreDir) -> Result<LockFile, LockError> {
    let started = Instant::now();
    loop {
        match LockFile::try_acquire(&store.lock()) {
            Err(LockError::Held { .. }) if started.elapsed() < Duration::from_millis(200) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

/// Runs the daemon of a store directory until it is told to stop or has nothing to do.
pub fn run(store: &StoreDir, options: &DaemonOptions, readiness: Readiness) -> Result<()> {
    release_large_buffers();
    let started = start(store, options);
    let (_lock, listener, state) = match started {
        Ok(started) => started,
        Err(error) => {
            // Whoever waits for the daemon learns why; if nobody does, the error is the caller's.
            let _ = readiness.failed(&crate::error::describe(&error));
            return Err(error);
        }
    };
    tracing::info!("serving {}", store.path().display());
    let accepting = Arc::clone(&state);
    std::thread::Builder::new()
        .name("accept".to_owned())
        .spawn(move || {
            for socket in listener.incoming().flatten() {
                connection::spawn(Arc::clone(&accepting), Gate::Owner, socket);
            }
        })
        .map_err(Error::io("start", "the daemon's threads"))?;
    let _ = readiness.ready();
    state.activity.wait_until_done(options.idle);
    tracing::info!("ending");
    // The socket goes before the lock, so that nobody talks to a daemon that is leaving.
    let _ = std::fs::remove_file(store.socket());
    Ok(())
}

fn start(
    store: &StoreDir,
    options: &DaemonOptions,
) -> Result<(LockFile, std::os::unix::net::UnixListener, Arc<State>)> {
    let lock = acquire(store).map_err(|error| match error {
        LockError::Held { pid, .. } => Error::usage(
            match pid {
                Some(pid) => format!("process {pid} is the daemon of this store already"),
                None => "this store has a daemon already".to_owned(),
            },
            "use it, or end it with `cachefs daemon stop`",
        ),
        LockError::Io { path, source } => Error::Io {
            action: "lock",
            path,
            source,
        },
    })?;
    let runtime = Runtime::new().map_err(Error::io("start", "the daemon's runtime"))?;
    let state = Arc::new(State::new(
        store.clone(),
        options.cache_limit,
        runtime,
        Activity::default(),
    ));
    let listener =
        socket::listen(&store.socket()).map_err(Error::io("listen on", store.socket()))?;
    Ok((lock, listener, state))
}
