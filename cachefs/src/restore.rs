//! Restoring: from keys to a path that shows the cache.

mod copied_files;
mod copy;
mod copy_record;
mod hidden_mounts;
mod lookup;
mod multi_path;
mod new_record;
mod options;
mod recover;
mod report;
mod target_dir;

pub use lookup::look_up;
pub(crate) use multi_path::find_parts;
pub use multi_path::{FoundDirectories, find_directories};
pub use target_dir::MadeDirectories;

use recover::Left;

use std::path::PathBuf;
use std::time::Instant;

use cachefs_store::id::SaveId;
use cachefs_store::progress::Progress;

use crate::error::{Error, Result};
use crate::mounts::{How, MountRecords, attach_mount};
use crate::paths::refuse_overlap;
use crate::rpc::DaemonClient;
use crate::store_dir::StoreDir;
use crate::sys::spawn::SpawnError;
use crate::unsaved_changes::Unsaved;
pub use crate::unsaved_changes::UnsavedChanges;
pub use options::{KeepChanges, MountLower, RestoreMode, RestoreOptions};
pub use report::{NoMount, RestoreOutcome, RestoreReport};

use copy::restore_copy;
use new_record::new_record;
use options::request_view;
use report::{found_report, miss_report};

/// Restores a path.
pub fn restore_path(
    store: &StoreDir,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    let started = Instant::now();
    refuse_overlap(store, &options.remote, &options.path)?;
    let path = target_dir::find_target(&options.path)?;
    let records = MountRecords::new(store);
    records.sweep();
    Unsaved::new(store).remove_old();
    let mut left = Left::default();
    copied_files::clear_leftovers(store, &records, &path, options, &mut left.notes)?;
    let mut report = match recover::recover_path(store, &records, &path, options, &mut left)? {
        Some(report) => report,
        None => {
            restore_fresh(store, &records, path, options, progress).inspect_err(|_| left.log())?
        }
    };
    left.notes.append(&mut report.notes);
    report.notes = left.notes;
    report.unsaved = left.unsaved;
    if matches!(
        report.outcome,
        RestoreOutcome::Mounted | RestoreOutcome::Remounted
    ) {
        report
            .notes
            .extend(hidden_mounts::hidden_mounts_note(&report.path));
    }
    report.elapsed = started.elapsed();
    Ok(report)
}

fn restore_fresh(
    store: &StoreDir,
    records: &MountRecords,
    path: PathBuf,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    if options.mode == RestoreMode::Copy {
        return restore_copy(store, records, path, options, None, None, progress);
    }
    let mut client = match DaemonClient::connect(store) {
        // A copy needs no daemon.
        Err(error @ Error::Start(SpawnError::Reported { .. }))
            if options.mode == RestoreMode::Auto =>
        {
            let why = NoMount::because(&error);
            return restore_copy(store, records, path, options, None, Some(why), progress);
        }
        connected => connected?,
    };
    let asked_at = SaveId::now().micros;
    let found = request_view(&mut client, options)?;
    let Some(view) = found.view else {
        return Ok(RestoreReport {
            lost: found.lost,
            ..miss_report(path, found.found, found.traffic)
        });
    };
    if progress.cancelled() {
        client.close(view.view)?;
        return Err(cachefs_store::Error::Cancelled.into());
    }
    let made = MadeDirectories::make(&path, options.owner.or(options.caller))?;
    let record = new_record(&path, How::Mount, &found.found, options, asked_at)?;
    records.remove(&path)?;
    // Written first: a crash in between leaves a record without a mount, which is cleaned up, and
    // never a mount that nothing knows of.
    records.put(&record)?;
    let attached = attach_mount(&mut client, records, &record, view, |client, form| {
        client.open(options.open(&record.layers, form))
    });
    match attached {
        Ok(()) => Ok(found_report(
            RestoreOutcome::Mounted,
            path,
            found.found,
            found.traffic,
        )),
        Err(Error::Mount(error)) if options.mode == RestoreMode::Auto && error.is_environment() => {
            records.remove(&path)?;
            made.remove();
            let why = NoMount::because(&Error::Mount(error));
            restore_copy(
                store,
                records,
                path,
                options,
                Some(found.found),
                Some(why),
                progress,
            )
        }
        Err(error) => {
            records.remove(&path)?;
            made.remove();
            Err(error)
        }
    }
}
