//! Files that an earlier restore copied to a path.
//!
//! A persistent runner restores one key after another at the same path. A mount is removed as a
//! whole; of a copy, cachefs removes unchanged files. Otherwise the next save would store the
//! leftovers of another key.

use std::path::Path;

use cachefs_store::copy::remove_unchanged;
use cachefs_store::restore::is_empty_directory;
use cachefs_store::session::Session;
use cachefs_store::stack::Stack;

use super::options::RestoreOptions;
use crate::error::{Error, Result, describe_chain};
use crate::mounts::{How, Incomplete, MountRecord, MountRecords};
use crate::store_dir::StoreDir;

/// Removes unchanged files of another key's copy from a path, and deletes its record. If that
/// fails, the path is noted as [incomplete](MountRecord::incomplete), so that it is not saved.
pub(super) fn clear_leftovers(
    store: &StoreDir,
    records: &MountRecords,
    path: &Path,
    options: &RestoreOptions,
    notes: &mut Vec<String>,
) -> Result<()> {
    let Some(record) = records.get(path)? else {
        return Ok(());
    };
    if record.how != How::Copy || options.asks_for(&record) {
        return Ok(());
    }
    match record.incomplete {
        Some(incomplete) if !incomplete.is_at(path) => return records.remove(path),
        Some(incomplete) if incomplete.mixed => return Ok(()),
        _ => {}
    }
    let outcome = remove_leftovers(store, &record, None, options);
    // A copy that was killed may have left half a file, which looks like one that was changed.
    let is_clean = outcome.is_ok() && (record.incomplete.is_none() || is_empty_directory(path));
    let key = &record.name.key;
    match outcome {
        Ok(0) => {}
        Ok(removed) => notes.push(format!(
            "removed {removed} unchanged entries of key {key}, which an earlier restore copied to {}",
            path.display()
        )),
        Err(error) => notes.push(format!(
            "{} still has files of key {key}, which an earlier restore copied there: {}",
            path.display(),
            describe_chain(&error)
        )),
    }
    if is_clean || !path.exists() {
        return records.remove(path);
    }
    records.put(&MountRecord {
        incomplete: Some(Incomplete::of(path, true)?),
        ..record
    })
}

/// Removes unchanged files of an earlier copy from a path, except for those that `keep` contains,
/// too. Returns the number of removed entries.
pub(super) fn remove_leftovers(
    store: &StoreDir,
    record: &MountRecord,
    keep: Option<&Stack>,
    options: &RestoreOptions,
) -> Result<u64> {
    let session = Session::open(store.local(), &options.remote, options.deadline)?;
    let mut stack = session.open_stack(&record.layers)?;
    if !record.privileged {
        stack = stack.without_privileges();
    }
    let removed = remove_unchanged(&stack, keep, &record.path)?;
    match removed.failed {
        None => Ok(removed.entries),
        Some((path, errno)) => Err(Error::Io {
            action: "remove",
            path: record.path.join(path),
            source: errno.into(),
        }),
    }
}
