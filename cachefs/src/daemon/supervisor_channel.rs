//! Messages between worker and supervisor, and the worker's end of the connection.
//!
//! The worker deposits descriptors with the supervisor and takes them back. Each order is answered
//! before the worker continues. The next worker inherits the descriptors by `fork`.

use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::fd_table::Item;
use crate::error::{Error, Result};
use crate::sys::fdpass;

/// An order of the worker to its supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(super) enum Order {
    /// Keep the attached descriptor and the payload, an [`Item`], for the next worker. Replaces an
    /// item of the same name.
    Hold { name: String },
    /// Close a descriptor and forget about it.
    Release { name: String },
    /// Execute this program when the worker ends.
    Upgrade { exe: PathBuf },
}

/// The supervisor's answer to every order.
pub(super) const DONE: &[u8] = b"done";

/// The worker's end.
#[derive(Debug)]
pub(super) struct Keeper {
    socket: Mutex<UnixStream>,
    /// The supervisor's process.
    pub(super) pid: u32,
    is_lost: AtomicBool,
}

impl Keeper {
    pub(super) fn new(socket: UnixStream, pid: u32) -> Self {
        Self {
            socket: Mutex::new(socket),
            pid,
            is_lost: AtomicBool::new(false),
        }
    }

    /// Has a descriptor kept for the next worker.
    pub(super) fn hold(&self, name: String, item: &Item, fd: BorrowedFd<'_>) -> Result<()> {
        let item = serde_json::to_vec(item).map_err(|error| Error::Conversation(error.into()))?;
        self.order(&Order::Hold { name }, &item, &[fd])
    }

    /// Has a descriptor closed that need not be kept any more.
    pub(super) fn release(&self, name: String) -> Result<()> {
        self.order(&Order::Release { name }, &[], &[])
    }

    /// Orders the supervisor to execute another program when this worker has ended.
    pub(super) fn upgrade(&self, exe: PathBuf) -> Result<()> {
        self.order(&Order::Upgrade { exe }, &[], &[])
    }

    fn order(&self, order: &Order, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        let header =
            serde_json::to_vec(order).map_err(|error| Error::Conversation(error.into()))?;
        let socket = self.socket.lock();
        let answered = fdpass::send_frame(&socket, &header, payload, fds)
            .and_then(|()| fdpass::receive_frame(&socket));
        match answered {
            Ok(Some(answer)) if answer.header == DONE => Ok(()),
            other => {
                if !self.is_lost.swap(true, Relaxed) {
                    tracing::error!(
                        "the supervisor, process {}, is gone; if this process dies, its mounts die too",
                        self.pid
                    );
                }
                Err(match other {
                    Err(error) => error.into(),
                    Ok(_) => Error::Conversation("the supervisor is gone".into()),
                })
            }
        }
    }
}

/// Receives one order; `None` when the worker has ended.
pub(super) fn receive_order(socket: &UnixStream) -> Option<(Order, fdpass::SocketFrame)> {
    // A worker that was killed in the middle of an order is as gone as any other.
    let frame = fdpass::receive_frame(socket).ok().flatten()?;
    match serde_json::from_slice(&frame.header) {
        Ok(order) => Some((order, frame)),
        Err(error) => {
            tracing::error!("the worker sent an invalid order: {error}");
            None
        }
    }
}

/// Answers an order.
pub(super) fn acknowledge_order(socket: &UnixStream) {
    // A worker that is gone does not wait for it.
    let _ = fdpass::send_frame(socket, DONE, &[], &[]);
}
