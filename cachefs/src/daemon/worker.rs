//! The process that does the work of a daemon, until it ends or is killed.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::connection;
use super::idle_exit::End;
use super::state::DaemonState;
use super::supervisor::{UPGRADE, WorkerInit};
use super::{DaemonOptions, adopt_mounts};
use crate::error::{Error, Result};
use crate::shares::{Gate, Owners};
use crate::store_dir::StoreDir;
use crate::unsaved_changes::Unsaved;

/// Serves clients and mounts until it is asked to stop or is idle. Returns the exit code.
pub(super) fn run_worker(
    store: &StoreDir,
    options: &DaemonOptions,
    seat: WorkerInit,
) -> Result<i32> {
    let WorkerInit {
        listener,
        socket,
        keeper,
        held,
        readiness,
        restarts,
    } = seat;
    let started = Runtime::new()
        .map_err(Error::io("start", "the daemon's runtime"))
        .and_then(|runtime| {
            let state = DaemonState::new(
                store.clone(),
                options.cache_limit,
                runtime,
                keeper,
                restarts,
            );
            let state = Arc::new(state);
            // Before anybody connects, so that numbers are not given to others.
            adopt_mounts::adopt_all(&state, held);
            accept_connections(&state, listener)?;
            Ok(state)
        });
    let state = match started {
        Ok(state) => state,
        Err(error) => {
            // The waiting process gets the error; if there is none, the caller does.
            if let Some(readiness) = readiness {
                let _ =
                    readiness.failed(&crate::error::describe_chain(&error), error.hint().as_ref());
            }
            return Err(error);
        }
    };
    tracing::info!("serving {}", store.path().display());
    tidy_store(store);
    let old = store.clone();
    state.beside(move || old.remove_old_layout());
    if let Some(readiness) = readiness {
        let _ = readiness.ready();
    }
    let end = state.activity.wait_until_done(options.idle);
    tracing::info!("ending");
    if end == End::Upgrade {
        return Ok(UPGRADE);
    }
    // The socket goes before the lock, so that nobody talks to a daemon that is leaving.
    if let Some(socket) = socket {
        socket.remove();
    }
    Ok(0)
}

/// Removes obsolete files of the store in the background.
fn tidy_store(store: &StoreDir) {
    let unsaved = Unsaved::new(store);
    let spawned = std::thread::Builder::new()
        .name("tidy".to_owned())
        .spawn(move || unsaved.tidy());
    if let Err(error) = spawned {
        tracing::info!("cannot remove old unsaved changes yet: {error}");
    }
}

fn accept_connections(state: &Arc<DaemonState>, listener: UnixListener) -> Result<()> {
    let state = Arc::clone(state);
    std::thread::Builder::new()
        .name("accept".to_owned())
        .spawn(move || {
            let owners = Arc::<Owners>::default();
            for socket in listener.incoming() {
                match socket {
                    Ok(socket) => {
                        let gate = Gate::of_owner(&owners);
                        connection::spawn_connection(Arc::clone(&state), gate, socket);
                    }
                    Err(error) => {
                        tracing::warn!("cannot accept a client: {error}");
                        // Out of descriptors, perhaps: not the time to be busy.
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
            }
        })
        .map_err(Error::io("start", "the daemon's threads"))?;
    Ok(())
}
