//! Key, target and options of a restore.

use std::path::PathBuf;
use std::time::Duration;

use cachefs_store::refs::{Key, KeyQuery, LayerInfo, Scope};
use cachefs_store::remote::{RemoteSpec, Spending};
use cachefs_store::session::Session;
use cachefs_store::stack::Owner;

use crate::error::{Error, Result};
use crate::mounts::MountRecord;
use crate::rpc::{DaemonClient, OpenRequest, Prefetch, RestoreReply, RestoreRequest, ViewOrigin};
use crate::store_dir::StoreDir;
use crate::sys::erofs_mount::is_likely;
use crate::view::ViewForm;

/// How the path is to show the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestoreMode {
    /// Mounted where that works, copied where it does not.
    #[default]
    Auto,
    /// Mounted, or not at all.
    Mount,
    /// Copied, as a plain directory.
    Copy,
}

/// The lower directory of a mount's overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountLower {
    /// An EROFS image where the kernel can mount one from a file, FUSE elsewhere.
    #[default]
    Auto,
    /// The FUSE view.
    Fuse,
}

/// When unsaved changes of an earlier restore stay at the path, if that has the same stack and options.
/// Otherwise they are moved to [`Unsaved`](crate::unsaved_changes::Unsaved).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeepChanges {
    /// Never: each job begins with the cache as it was saved.
    Never,
    /// When the mount died, because its daemon was killed.
    #[default]
    AfterCrash,
    /// Whenever the mount is still there.
    Always,
}

/// Key, target and options of a restore.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The path.
    pub path: PathBuf,
    /// The remote.
    pub remote: RemoteSpec,
    /// The keys, the bottom of the stack first.
    pub wanted: Vec<KeyQuery>,
    /// How.
    pub mode: RestoreMode,
    /// The lower directory of a mount.
    pub lower: MountLower,
    /// Data to prefetch.
    pub prefetch: Prefetch,
    /// Whether reads are noted and published for later jobs.
    pub trace: bool,
    /// Whether devices, setuid bits and file capabilities are shown, too: see
    /// [`Stack::without_privileges`](cachefs_store::stack::Stack::without_privileges).
    pub privileged: bool,
    /// The owner of all files; `None` for the saved owners, as far as this user may change owners.
    pub owner: Option<Owner>,
    /// The user that directories belong to which the restore makes on the way to its path, if they do
    /// not belong to `owner`; `None` for the user of this process.
    pub caller: Option<Owner>,
    /// Whether unsaved changes of an earlier restore of the same stack stay at the path.
    pub keep_changes: KeepChanges,
    /// How long one request to the remote may take.
    pub deadline: Option<Duration>,
    /// Receives the cost of the restore, even if it fails.
    pub spent: Spending,
}

impl RestoreOptions {
    /// Opens the remote for a restore in this process.
    pub(super) fn session(&self, store: &StoreDir) -> Result<Session> {
        let session = Session::open(store.local(), &self.remote, self.deadline)?;
        Ok(session.counted_in(&self.spent))
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.deadline.map(|deadline| deadline.as_millis() as u64)
    }

    /// The form of view to ask for.
    pub(super) fn form(&self) -> ViewForm {
        match self.lower {
            MountLower::Fuse => ViewForm::Tree,
            MountLower::Auto if is_likely() => ViewForm::Image,
            MountLower::Auto => ViewForm::Tree,
        }
    }

    pub(super) fn shown(&self, form: ViewForm) -> ViewOrigin {
        ViewOrigin {
            remote: self.remote.clone(),
            deadline_ms: self.deadline_ms(),
            prefetch: self.prefetch,
            form,
            trace: self.trace,
            privileged: self.privileged,
            owner: self.owner,
        }
    }

    pub(super) fn open(&self, layers: &[LayerInfo], form: ViewForm) -> OpenRequest {
        OpenRequest {
            layers: layers.to_vec(),
            shown: self.shown(form),
        }
    }

    /// The key that the user named last: the one that `save` will use.
    pub(super) fn asked(&self) -> Option<&Key> {
        self.wanted.last().map(|wanted| &wanted.key)
    }

    /// The scope of the job, in which it looks first.
    pub(super) fn asked_in(&self) -> Option<&Scope> {
        self.wanted.last().and_then(|wanted| wanted.scopes.first())
    }

    pub(super) fn asks_for(&self, record: &MountRecord) -> bool {
        self.asked() == Some(&record.asked)
            && self.asked_in() == Some(&record.asked_in)
            && self.privileged == record.privileged
            && self.owner == record.owner
    }
}

/// Requests the stack and a view of it from the daemon.
pub(super) fn request_view(
    client: &mut DaemonClient,
    options: &RestoreOptions,
) -> Result<RestoreReply> {
    let request = RestoreRequest {
        wanted: options.wanted.clone(),
        shown: options.shown(options.form()),
    };
    client.restore(request).inspect_err(|error| {
        if let Error::Daemon(failure) = error {
            options.spent.add(*failure.traffic);
        }
    })
}
