//! Shares as a worker serves them and the supervisor keeps them.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::fd_table::{Item, name_of_share};
use super::state::DaemonState;
use crate::error::{Result, describe_chain};
use crate::shares::{Gate, Share, ShareDescription};

/// Serves a client of a share on a thread of its own. Clients of shares may open shares themselves, so
/// this function is passed in by the code that serves connections.
pub(super) type ServeClient = fn(Arc<DaemonState>, Gate, UnixStream);

/// Opens a share, which from now on outlives this worker.
pub(super) fn open_share(
    state: &Arc<DaemonState>,
    description: ShareDescription,
    listener: OwnedFd,
    serve: ServeClient,
) -> Result<()> {
    let share = state.shares.open(description, listener)?;
    keep_share(state, &share);
    accept_clients(Arc::clone(state), share, serve);
    Ok(())
}

/// Adopts a share of the previous worker.
pub(super) fn adopt_share(
    state: &Arc<DaemonState>,
    description: ShareDescription,
    listener: OwnedFd,
    serve: ServeClient,
) -> Result<()> {
    let share = state.shares.open(description, listener)?;
    accept_clients(Arc::clone(state), share, serve);
    Ok(())
}

/// Ends a share.
pub(super) fn close_share(state: &DaemonState, path: &Path) -> Result<()> {
    state.shares.close(path)?;
    state.let_go(name_of_share(path));
    Ok(())
}

/// Deposits a share in its present state with the supervisor.
pub(super) fn keep_share(state: &DaemonState, share: &Share) {
    let description = share.description();
    let name = name_of_share(&description.path);
    let item = Item::Share(description);
    if let Err(error) = state.hold(name, &item, share.listener().as_fd()) {
        tracing::warn!(
            "a share will not outlive this worker: {}",
            describe_chain(&error)
        );
    }
}

/// Answers the clients of a share until it is ended.
fn accept_clients(state: Arc<DaemonState>, share: Arc<Share>, serve: ServeClient) {
    // A share stays open even if no client is connected.
    state.activity.connected();
    let running = Arc::clone(&state);
    let thread = std::thread::Builder::new()
        .name("share".to_owned())
        .spawn(move || {
            while !share.is_closed() {
                match share.listener().accept() {
                    Ok((socket, _)) => {
                        let gate = Gate::of_share(Arc::clone(&share));
                        serve(Arc::clone(&running), gate, socket);
                    }
                    Err(error) => {
                        tracing::debug!("a share's socket: {error}");
                        // Out of descriptors, perhaps: not the time to be busy.
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
            }
            running.activity.disconnected();
        });
    if let Err(error) = thread {
        tracing::error!("cannot serve a share: {error}");
        state.activity.disconnected();
    }
}
