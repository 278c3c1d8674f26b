//! What outlives a worker.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::rpc::Open;
use crate::sys::fuse_init::FuseInit;
use crate::view::Form;

/// A descriptor that the supervisor keeps open, and what a worker must know to go on with it.
#[derive(Debug)]
pub(super) struct Held {
    /// Names it; the number of a view, see [`name_of_view`].
    pub(super) name: String,
    /// An [`Item`] as JSON, which the supervisor passes on unread: it may be older than the worker.
    pub(super) item: String,
    pub(super) fd: OwnedFd,
}

/// What a worker must know of a descriptor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Item {
    /// A FUSE connection.
    Mount {
        /// What it shows.
        open: Open,
        /// How.
        form: Form,
        /// How it began.
        init: FuseInit,
    },
}

/// Under which name the descriptor of a view is held.
pub(super) fn name_of_view(number: u64) -> String {
    format!("view/{number}")
}

/// The view whose descriptor has this name.
pub(super) fn view_of_name(name: &str) -> Option<u64> {
    name.strip_prefix("view/")?.parse().ok()
}
