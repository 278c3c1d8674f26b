//! Taking a restored path down.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use cachefs_store::id::StackId;

use super::attach::detach_mount;
use super::record::{How, MountRecord, MountRecords};
use super::unsaved::unsaved_changes;
use crate::error::{Error, Result};
use crate::paths::real_path;
use crate::rpc::DaemonClient;
use crate::store_dir::StoreDir;
use crate::unsaved_changes::Unsaved;
use crate::unsaved_changes::UnsavedChanges;
use cachefs_store::Hint;

/// Result of an unmount.
#[derive(Debug)]
pub struct Unmounted {
    /// The path's record.
    pub record: MountRecord,
    /// Whether changes that no save has taken up were dropped.
    pub dropped_changes: bool,
}

/// Unmounts a restored path and deletes its record. Unsaved changes are dropped.
///
/// `lazy` detaches the mount even while processes use it; they keep their open files.
pub fn unmount_path(store: &StoreDir, path: &Path, lazy: bool) -> Result<Unmounted> {
    let records = MountRecords::new(store);
    let path = std::path::absolute(path).map_err(Error::io("find", path))?;
    // The path of a dead mount can't be resolved, so it is first tried as it was given.
    let record = match records.get(&path)? {
        Some(record) => record,
        None => {
            let canonical = real_path(&path);
            records.get(&canonical)?.ok_or_else(|| {
                Error::usage(
                    format!("{} was not restored from this store", canonical.display()),
                    Hint::ListMounts,
                )
            })?
        }
    };
    let dropped_changes = unsaved_changes(&records, &record) > 0;
    if record.how == How::Mount {
        detach_mount(&records, &record, lazy)?;
        publish_trace(store, &record);
    }
    records.remove(&record.path)?;
    if record.how == How::Mount {
        records.attachments().tidy(&record.path);
    }
    Ok(Unmounted {
        record,
        dropped_changes,
    })
}

/// Unmounts a restored path and forgets it. Its unsaved changes are counted and moved to the store's
/// `unsaved/`; `None` if there are none.
///
/// `lazy` is as for [`unmount_path`].
///
/// # Errors
///
/// Those of [`unmount_path`], and when the changes cannot be moved: then they stay in the store, and the
/// path can be unmounted again.
pub fn unmount_keeping_changes(
    store: &StoreDir,
    path: &Path,
    lazy: bool,
) -> Result<Option<UnsavedChanges>> {
    let records = MountRecords::new(store);
    let mut unsaved = None;
    if let Some(record) = records.get(path)?
        && record.how == How::Mount
    {
        // Counted before: without the mount, files that were only copied up count as changed.
        let changes = unsaved_changes(&records, &record);
        detach_mount(&records, &record, lazy)?;
        if changes > 0 {
            unsaved = Some(UnsavedChanges {
                changes,
                moved_to: Some(move_upper(store, &records, &record)?),
            });
        }
    }
    unmount_path(store, path, lazy)?;
    Ok(unsaved)
}

/// Moves the changes of a path that is not mounted any more to `unsaved/`.
pub(crate) fn move_upper(
    store: &StoreDir,
    records: &MountRecords,
    record: &MountRecord,
) -> Result<PathBuf> {
    let name = record.path.file_name().unwrap_or(OsStr::new("root"));
    Unsaved::new(store).add(&records.upper(record), name)
}

/// Takes a restored path away even while it is in use, and forgets it. Its changes are moved to the
/// store's `unsaved/` without a look at them; returns where, if there are any.
pub fn set_aside(store: &StoreDir, path: &Path) -> Result<Option<PathBuf>> {
    let records = MountRecords::new(store);
    let Some(record) = records.get(path)? else {
        return Ok(None);
    };
    let mut aside = None;
    if record.how == How::Mount {
        detach_mount(&records, &record, true)?;
        let upper = records.upper(&record);
        if fs::read_dir(&upper).is_ok_and(|mut upper| upper.next().is_some()) {
            aside = Some(move_upper(store, &records, &record)?);
        }
    }
    records.remove(&record.path)?;
    Ok(aside)
}

/// Publishes the reads through the daemon now, because the machine may be gone after this command.
fn publish_trace(store: &StoreDir, record: &MountRecord) {
    let stack = StackId::of(record.layers.iter().map(|layer| &layer.id));
    let done = DaemonClient::connect_running(store)
        .and_then(|client| client.map_or(Ok(()), |mut client| client.publish_trace(stack, stack)));
    if let Err(error) = done {
        tracing::debug!("the access trace may not be published: {error}");
    }
}
