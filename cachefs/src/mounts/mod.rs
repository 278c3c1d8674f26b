//! Restored paths: their records, mounts and unmounts.

mod attach;
mod attachments;
mod path_bytes;
mod reads;
mod record;
mod sweep;
mod unmount;
mod unsaved;

pub use attachments::{Attachment, Attachments};
pub use reads::{CacheUse, FileUse, Use, cache_use};
pub use record::{How, Incomplete, MountRecord, MountRecords};
pub use unmount::{Unmounted, set_aside, unmount_keeping_changes, unmount_path};
pub use unsaved::unsaved_changes;

pub(crate) use attach::{attach_mount, detach_mount};
pub(crate) use unmount::move_upper;

use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::sys::mount_liveness::{MountHealth, mount_health};
use crate::sys::mountinfo::MountTable;
use cachefs_store::Hint;

/// How long a view may take to show that it is alive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Present state of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nothing of ours.
    Absent,
    /// A mount that answers.
    Alive,
    /// A mount whose server is gone.
    Dead,
    /// A mount that nobody can reach: something was mounted over it, or over a parent directory.
    Hidden,
}

/// Looks whether a restored path is mounted, and alive.
pub fn check_presence(record: &MountRecord, records: &MountRecords) -> Result<Presence> {
    let table = MountTable::read().map_err(Error::io("read", "/proc/self/mountinfo"))?;
    if table.hiding(&record.path).is_some() {
        return Ok(Presence::Hidden);
    }
    if table
        .topmost_at(&record.path)
        .is_none_or(|mount| !mount.is_cachefs_overlay())
    {
        return Ok(Presence::Absent);
    }
    let view = records.view(record);
    if table.topmost_at(&view).is_none() {
        // The view is in another mount namespace, or gone, so we check the overlay itself.
        return check_health(&record.path);
    }
    check_health(&view)
}

/// Refuses to work with a cache that another mount hides: the path shows other files than the cache
/// has, and the kernel cannot unmount it.
///
/// # Errors
///
/// [`Error::State`] when the path is hidden.
pub(crate) fn refuse_hidden(table: &MountTable, path: &Path) -> Result<()> {
    match table.hiding(path) {
        None => Ok(()),
        Some(over) => Err(Error::State {
            message: format!(
                "the cache at {} is hidden by a later mount at {}",
                path.display(),
                over.mount_point.display()
            ),
            hint: Hint::UnmountFirst,
        }),
    }
}

fn check_health(path: &Path) -> Result<Presence> {
    match mount_health(path, PATIENCE).map_err(Error::io("look at", path))? {
        MountHealth::Alive => Ok(Presence::Alive),
        MountHealth::Dead(_) | MountHealth::Hung => Ok(Presence::Dead),
    }
}
