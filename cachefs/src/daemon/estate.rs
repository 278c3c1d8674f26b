//! The state of a daemon that outlives its workers and its program.

use std::os::unix::net::UnixListener;

use super::fd_table::HeldDescriptor;
use crate::sys::lock::LockFile;
use crate::sys::socket::SocketFile;

/// State of a daemon that is independent of its workers.
#[derive(Debug)]
pub(super) struct Estate {
    pub(super) lock: LockFile,
    pub(super) listener: UnixListener,
    /// The file of the listener; `None` when it was gone already as this program took over.
    pub(super) socket: Option<SocketFile>,
    pub(super) held: Vec<HeldDescriptor>,
}
