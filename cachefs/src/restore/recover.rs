//! Handles an earlier restore at the same path.

use cachefs_store::Hint;
use std::fs;
use std::path::Path;
use std::time::Duration;

use cachefs_store::refs::LayerInfo;
use cachefs_store::remote::RemoteTraffic;

use super::options::{KeepChanges, RestoreOptions, request_view};
use super::report::{RestoreOutcome, RestoreReport, found_report};
use crate::error::{Error, Result};
use crate::mounts::{
    Attachments, How, MountRecord, MountRecords, Presence, attach_mount, check_presence,
    detach_mount, move_upper, unsaved_changes,
};
use crate::rpc::DaemonClient;
use crate::store_dir::StoreDir;
use crate::sys::overlay::clear_volatile_marker;
use crate::sys::unmount::UnmountError;
use crate::unsaved_changes::UnsavedChanges;

/// The report about an earlier restore at the path.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) notes: Vec<String>,
    pub(super) unsaved: Option<UnsavedChanges>,
}

impl Left {
    /// Logs the notes of a restore that fails: nobody would hear where changes were moved.
    pub(super) fn log(&self) {
        for note in &self.notes {
            tracing::warn!("{note}");
        }
    }

    /// Notes that changes are still at the path.
    fn stays(&mut self, record: &MountRecord, changes: u64, why: &str) {
        if changes == 0 {
            return;
        }
        self.notes.push(format!(
            "{} of an earlier restore of key {} {} still in {}{why}",
            count_text(changes),
            record.name.key,
            if changes == 1 { "is" } else { "are" },
            record.path.display(),
        ));
        self.unsaved = Some(UnsavedChanges {
            changes,
            moved_to: None,
        });
    }
}

fn count_text(changes: u64) -> String {
    match changes {
        1 => "1 unsaved change".to_owned(),
        changes => format!("{changes} unsaved changes"),
    }
}

/// Deals with an earlier restore of the path; `None` when nothing is in the way of a new one.
pub(super) fn recover_path(
    store: &StoreDir,
    records: &MountRecords,
    path: &Path,
    options: &RestoreOptions,
    left: &mut Left,
) -> Result<Option<RestoreReport>> {
    let Some(record) = records.get(path)? else {
        return Ok(None);
    };
    if record.how == How::Copy {
        return Ok(None);
    }
    let presence = check_presence(&record, records)?;
    let changes = unsaved_changes(records, &record);
    if presence == Presence::Alive {
        // Changes of an earlier job must not become part of this one and of its save.
        if let Some(report) = restore_mounted(store, &record, options)? {
            if keep_mount(store, records, &record, options, changes, left)? {
                return Ok(Some(report));
            }
        } else {
            // A mount that is in use stays: then this restore fails.
            detach_mount(records, &record, false).map_err(|error| still_shows(&record, error))?;
            left.notes.push(format!(
                "unmounted key {}, which an earlier restore had left at {}",
                record.name.key,
                path.display()
            ));
        }
        clear_unmounted(store, records, &record, changes, left)?;
        return Ok(None);
    }
    detach_mount(records, &record, true)?;
    let upper = records.upper(&record);
    let changed = fs::read_dir(&upper).is_ok_and(|mut upper| upper.next().is_some());
    if presence == Presence::Dead {
        left.notes
            .push(format!("repaired a dead mount at {}", path.display()));
    }
    // Changes return to their place only if their mount died and the same work continues, which we
    // cannot assume for a job in CI. If a mount is simply gone, it ended with a reboot, which may
    // have torn unsynced data, or with a container, whose changes do not belong to the next one.
    let keeps = presence == Presence::Dead && options.keep_changes != KeepChanges::Never;
    if !changed || !keeps || !options.asks_for(&record) {
        clear_unmounted(store, records, &record, changes, left)?;
        return Ok(None);
    }
    let work = records.work(&record);
    clear_volatile_marker(&work).map_err(Error::io("clean", &work))?;
    let mut client = DaemonClient::connect(store)?;
    let view = match client.open(options.open(&record.layers, options.form())) {
        // Reads would fail in the middle of the build. The new restore of the key says why it misses.
        Err(error) if error.is_lost() => {
            clear_unmounted(store, records, &record, changes, left)?;
            return Ok(None);
        }
        opened => opened?,
    };
    attach_mount(&mut client, records, &record, view, |client, form| {
        client.open(options.open(&record.layers, form))
    })?;
    // Without the view, files that were only copied up count as changed, so we count again.
    let changes = unsaved_changes(records, &record);
    left.stays(&record, changes, ", as before its daemon ended");
    Ok(Some(RestoreReport {
        outcome: RestoreOutcome::Remounted,
        path: record.path,
        matched: Vec::new(),
        layers: record.layers,
        tree: record.tree,
        traffic: RemoteTraffic::default(),
        lost: None,
        notes: Vec::new(),
        unsaved: None,
        elapsed: Duration::ZERO,
    }))
}

/// The error for a path where an earlier mount cannot be removed. It is never reduced to a warning,
/// because the build would run on the wrong cache.
fn still_shows(record: &MountRecord, error: Error) -> Error {
    let Error::Unmount(error) = error else {
        return error;
    };
    let path = record.path.display();
    Error::usage(
        format!(
            "{path} still shows key {}, which an earlier restore had left: {}",
            record.name.key,
            crate::error::describe_chain(&error)
        ),
        Hint::UnmountLazilyAndRestore {
            path: path.to_string(),
        },
    )
}

/// Whether a mount of the wanted stack can stay. Otherwise it is unmounted here.
fn keep_mount(
    store: &StoreDir,
    records: &MountRecords,
    record: &MountRecord,
    options: &RestoreOptions,
    changes: u64,
    left: &mut Left,
) -> Result<bool> {
    if changes == 0 || options.keep_changes == KeepChanges::Always {
        left.stays(record, changes, ", which are to be kept");
        return Ok(true);
    }
    if Attachments::new(store).shows(&record.path)? {
        left.stays(record, changes, ", which a container shows");
        return Ok(true);
    }
    match detach_mount(records, record, false) {
        Ok(()) => Ok(false),
        Err(error @ Error::Unmount(UnmountError::Busy { .. })) => {
            left.stays(record, changes, &format!(": {error}"));
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// Forgets a path that is not mounted any more; unsaved changes are kept elsewhere.
fn clear_unmounted(
    store: &StoreDir,
    records: &MountRecords,
    record: &MountRecord,
    changes: u64,
    left: &mut Left,
) -> Result<()> {
    if changes > 0 {
        let aside = move_upper(store, records, record)?;
        left.notes.push(format!(
            "{} of an earlier restore of key {} to {} {} in {}",
            count_text(changes),
            record.name.key,
            record.path.display(),
            if changes == 1 { "is" } else { "are" },
            aside.display()
        ));
        left.unsaved = Some(UnsavedChanges {
            changes,
            moved_to: Some(aside),
        });
    }
    records.remove(&record.path)
}

/// The path is mounted: fine if this job would mount the same there; `None` otherwise.
fn restore_mounted(
    store: &StoreDir,
    record: &MountRecord,
    options: &RestoreOptions,
) -> Result<Option<RestoreReport>> {
    if !options.asks_for(record) {
        return Ok(None);
    }
    let mut client = DaemonClient::connect(store)?;
    let found = request_view(&mut client, options)?;
    if let Some(view) = found.view {
        client.close(view.view)?;
    }
    if found.lost.is_some() {
        return Ok(None);
    }
    let same = |a: &LayerInfo, b: &LayerInfo| a.id == b.id;
    let layers = &found.found.layers;
    let is_same = layers.len() == record.layers.len()
        && layers.iter().zip(&record.layers).all(|(a, b)| same(a, b));
    Ok(is_same.then(|| {
        found_report(
            RestoreOutcome::AlreadyMounted,
            record.path.clone(),
            found.found,
            found.traffic,
        )
    }))
}
