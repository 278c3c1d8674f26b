//! The daemon: one per store directory, owner of the index and server of every view.
//!
//! It is started on demand, detached from its parent, and exits after it has had neither views nor
//! connections for a while. It consists of two processes: a supervisor, which keeps the descriptors
//! of mounts, and a worker, which does all the work and may die. In the worker, each connection and
//! each view has threads of its own; requests to remotes run on a small tokio runtime.

mod adopt_mounts;
mod answers;
mod client_disconnect;
mod connection;
mod crash_suspect;
mod estate;
mod fd_table;
mod handover;
mod idle_exit;
mod memory_trim;
mod prefetch;
mod remote_pool;
mod shared;
mod state;
mod supervisor;
mod supervisor_channel;
mod traces;
mod view_table;
mod worker;

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::store_dir::StoreDir;
use crate::sys::limits::{MIN_DESCRIPTORS, raise_descriptors};
use crate::sys::lock::{LockError, LockFile};
use crate::sys::memory::set_up_allocator;
use crate::sys::socket::{self, SocketFile};
use crate::sys::spawn::Readiness;
use cachefs_store::Hint;

use estate::Estate;
use supervisor::{Side, supervise_workers};

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
fn acquire_lock(store: &StoreDir) -> Result<LockFile, LockError> {
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

/// Runs the daemon of a store directory until it is asked to stop or is idle.
///
/// The process must have a single thread, because it forks. This function returns in the worker,
/// and in the supervisor when the last worker has ended; each exits with the returned code.
pub fn run_daemon(store: &StoreDir, options: &DaemonOptions, readiness: Readiness) -> Result<i32> {
    set_up_allocator();
    // Before the fork, because the supervisor holds the descriptors of all mounts.
    let descriptors = raise_descriptors();
    let estate = match enough(descriptors).and_then(|()| open_estate(store)) {
        Ok(estate) => estate,
        Err(error) => {
            let _ = readiness.failed(&crate::error::describe_chain(&error), error.hint().as_ref());
            return Err(error);
        }
    };
    match supervise_workers(estate, readiness)? {
        Side::Worker(seat) => worker::run_worker(store, options, seat),
        Side::Supervisor(code) => Ok(code),
    }
}

/// Refuses to run with so few descriptors that mounts would fail with I/O errors.
fn enough(descriptors: u64) -> Result<()> {
    match descriptors {
        MIN_DESCRIPTORS.. => Ok(()),
        _ => Err(Error::usage(
            format!(
                "the daemon needs at least {MIN_DESCRIPTORS} file descriptors, but its limit is {descriptors}"
            ),
            Hint::RaiseDescriptorLimit,
        )),
    }
}

fn open_estate(store: &StoreDir) -> Result<Estate> {
    let inherited = handover::take_handover(store)
        .map_err(Error::io("take over", "what the last version has left"))?;
    if let Some(estate) = inherited {
        tracing::info!("continuing as version {}", crate::VERSION);
        return Ok(estate);
    }
    let lock = acquire_lock(store).map_err(|error| match error {
        LockError::Held { pid, .. } => lock_held_error(store, pid),
        LockError::Io { path, source } => Error::Io {
            action: "lock",
            path,
            source,
        },
    })?;
    let listener =
        socket::listen_private(&store.socket()).map_err(Error::io("listen on", store.socket()))?;
    let socket = SocketFile::of(&store.socket()).map_err(Error::io("open", store.socket()))?;
    Ok(Estate {
        lock,
        listener,
        socket: Some(socket),
        held: Vec::new(),
    })
}

/// Why a daemon that holds the store cannot be reached; `None` when none does.
pub fn why_unreachable(store: &StoreDir) -> Option<Error> {
    let is_held = store.daemon_is_locked();
    is_held.then(|| lock_held_error(store, LockFile::holder(&store.lock())))
}

/// Another process has the lock.
fn lock_held_error(store: &StoreDir, pid: Option<u32>) -> Error {
    let holder = pid.map_or("another process".to_owned(), |pid| format!("process {pid}"));
    let socket = store.socket();
    if socket.exists() {
        return Error::usage(
            format!("{holder} is the daemon of this store already"),
            Hint::StopDaemon,
        );
    }
    // It may be about to end; otherwise somebody has removed the file.
    let end = pid.map_or("end it".to_owned(), |pid| {
        format!("end it with `kill {pid}`")
    });
    Error::usage(
        format!(
            "{holder} is the daemon of this store, but its socket {} is gone; {end}",
            socket.display()
        ),
        Hint::RestoreMountsAgain,
    )
}
