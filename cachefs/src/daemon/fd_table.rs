//! Descriptors that outlive a worker.

use std::os::fd::OwnedFd;
use std::path::Path;

use cachefs_store::stack::Numbering;
use serde::{Deserialize, Serialize};

use crate::rpc::OpenRequest;
use crate::shares::ShareDescription;
use crate::sys::fuse_init::FuseInit;
use crate::view::ViewForm;

/// A descriptor that the supervisor keeps open, and the facts that a worker needs to serve it.
#[derive(Debug)]
pub(super) struct HeldDescriptor {
    /// Names it: see [`name_of_view`] and [`name_of_share`].
    pub(super) name: String,
    /// An [`Item`] as JSON, which the supervisor passes on unread: it may be older than the worker.
    pub(super) item: String,
    pub(super) fd: OwnedFd,
    /// Result of earlier workers that served it.
    pub(super) trust: Trust,
}

/// How a worker may treat a held descriptor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Trust {
    /// Like any other.
    #[default]
    Full,
    /// A worker may have crashed on it: it is served after the others, and before the next suspect.
    Suspect,
    /// Several have: it is not looked at.
    Quarantined,
}

impl HeldDescriptor {
    /// Whether it is a mount's.
    pub(super) fn is_mount(&self) -> bool {
        view_of_name(&self.name).is_some()
    }
}

/// The facts that a worker needs about a descriptor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Item {
    /// A FUSE connection.
    Mount {
        /// The request that created the view.
        open: OpenRequest,
        /// How.
        form: ViewForm,
        /// By which numbers its kernel knows the files.
        #[serde(default)]
        numbering: Numbering,
        /// How it began.
        init: FuseInit,
    },
    /// The listening socket of a share.
    Share(ShareDescription),
}

/// Under which name the socket of a share is held.
pub(super) fn name_of_share(path: &Path) -> String {
    format!("share/{}", path.display())
}

/// Under which name the descriptor of a view is held.
pub(super) fn name_of_view(number: u64) -> String {
    format!("view/{number}")
}

/// The number of the view whose descriptor has this name.
pub(super) fn view_of_name(name: &str) -> Option<u64> {
    name.strip_prefix("view/")?.parse().ok()
}
