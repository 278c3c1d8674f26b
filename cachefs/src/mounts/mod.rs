//! Restored paths: what is known of each, and how it is mounted and unmounted.

mod attach;
mod attachments;
mod reads;
mod record;
mod unmount;

pub use attachments::{Attachment, Attachments};
pub use reads::{CacheUse, FileUse, Use, cache_use};
pub use record::{How, Record, Records, Saved};
pub use unmount::{Unmounted, unmount};

pub(crate) use attach::{attach, detach};

use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::sys::mountinfo::MountTable;
use crate::sys::stale::{MountHealth, mount_health};

/// How long a view may take to show that it is alive.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is at a path now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nothing of ours.
    Absent,
    /// A mount that answers.
    Alive,
    /// A mount whose server is gone.
    Dead,
}

/// Looks whether a restored path is mounted, and alive.
pub fn presence(record: &Record, records: &Records) -> Result<Presence> {
    let table = MountTable::read().map_err(Error::io("read", "/proc/self/mountinfo"))?;
    if table
        .topmost_at(&record.path)
        .is_none_or(|mount| !mount.is_cachefs_overlay())
    {
        return Ok(Presence::Absent);
    }
    let view = records.view(record);
    if table.topmost_at(&view).is_none() {
        // The view is in another mount namespace, or gone; the overlay itself must tell.
        return health(&record.path);
    }
    health(&view)
}

fn health(path: &Path) -> Result<Presence> {
    match mount_health(path, PATIENCE).map_err(Error::io("look at", path))? {
        MountHealth::Alive => Ok(Presence::Alive),
        MountHealth::Dead(_) | MountHealth::Hung => Ok(Presence::Dead),
    }
}
