//! What an earlier restore left at a path, and what becomes of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cachefs_store::refs::LayerInfo;
use cachefs_store::remote::Traffic;

use super::{Outcome, Report, RestoreOptions, ask};
use crate::error::{Error, Result};
use crate::mounts::{
    How, Presence, Record, Records, attach, detach, has_unsaved_changes, presence,
};
use crate::rpc::Client;
use crate::store_dir::StoreDir;
use crate::sys::overlay::clear_volatile_marker;

/// Deals with what an earlier restore left at the path; `None` when nothing is in the way.
pub(super) fn recover(
    store: &StoreDir,
    records: &Records,
    path: &Path,
    options: &RestoreOptions,
    notes: &mut Vec<String>,
) -> Result<Option<Report>> {
    let Some(record) = records.get(path)? else {
        return Ok(None);
    };
    if record.how == How::Copy {
        return Ok(None);
    }
    let presence = presence(&record, records)?;
    if presence == Presence::Alive {
        if let Some(report) = again(store, &record, options)? {
            return Ok(Some(report));
        }
        // What an earlier job left must not become part of what this one sees and saves. A mount
        // that is in use stays: then this restore fails.
        let unsaved = has_unsaved_changes(records, &record);
        detach(records, &record, false).map_err(|error| still_shows(&record, error))?;
        notes.push(format!(
            "unmounted key {}, which an earlier restore had left at {}",
            record.name.key,
            path.display()
        ));
        clear(store, records, &record, unsaved, notes)?;
        return Ok(None);
    }
    detach(records, &record, true)?;
    let upper = records.upper(&record);
    let changed = fs::read_dir(&upper).is_ok_and(|mut upper| upper.next().is_some());
    if presence == Presence::Dead {
        notes.push(format!(
            "found a dead mount at {} and repaired it",
            path.display()
        ));
    }
    // Changes go back where they were only when their mount died under this very command's eyes,
    // so to speak. A mount that is simply gone went with a reboot, which may have torn what was
    // not synced, or with a container, whose changes are not the next one's business.
    if !changed || presence != Presence::Dead || !options.asks_for(&record) {
        let unsaved = has_unsaved_changes(records, &record);
        clear(store, records, &record, unsaved, notes)?;
        return Ok(None);
    }
    let work = records.work(&record);
    clear_volatile_marker(&work).map_err(Error::io("clean", &work))?;
    let mut client = Client::connect(store)?;
    let view = client.open(options.open(&record.layers, options.form()))?;
    attach(&mut client, records, &record, view, |client, form| {
        client.open(options.open(&record.layers, form))
    })?;
    notes.push("kept the changes that were made to it before".to_owned());
    Ok(Some(Report {
        outcome: Outcome::Remounted,
        path: record.path,
        matched: Vec::new(),
        layers: record.layers,
        tree: record.tree,
        traffic: Traffic::default(),
        lost: None,
        notes: Vec::new(),
        elapsed: Duration::ZERO,
    }))
}

/// The error of a path at which an earlier restore's mount cannot be taken away: whoever goes on
/// there builds on the wrong cache, so it is never turned into a warning.
fn still_shows(record: &Record, error: Error) -> Error {
    let Error::Unmount(error) = error else {
        return error;
    };
    let path = record.path.display();
    Error::usage(
        format!(
            "{path} still shows key {}, which an earlier restore had left: {}",
            record.name.key,
            crate::error::describe(&error)
        ),
        format!("end what uses it, or run `cachefs umount --lazy {path}`, and restore again"),
    )
}

/// Forgets a path that is not mounted any more; changes that were not saved are kept elsewhere.
fn clear(
    store: &StoreDir,
    records: &Records,
    record: &Record,
    unsaved: bool,
    notes: &mut Vec<String>,
) -> Result<()> {
    if unsaved {
        let aside = store.set_aside(&records.upper(record))?;
        notes.push(format!(
            "changes that were made to {} under key {} and not saved are in {}",
            record.path.display(),
            record.name.key,
            aside.display()
        ));
    }
    records.remove(&record.path)
}

/// The path is mounted: fine if this job would mount the same there; `None` otherwise.
fn again(store: &StoreDir, record: &Record, options: &RestoreOptions) -> Result<Option<Report>> {
    if !options.asks_for(record) {
        return Ok(None);
    }
    let mut client = Client::connect(store)?;
    let found = ask(&mut client, options)?;
    if let Some(view) = found.view {
        client.close(view.view)?;
    }
    let same = |a: &LayerInfo, b: &LayerInfo| a.id == b.id;
    let is_same = found.layers.len() == record.layers.len()
        && found
            .layers
            .iter()
            .zip(&record.layers)
            .all(|(a, b)| same(a, b));
    Ok(is_same.then(|| Report {
        outcome: Outcome::AlreadyMounted,
        path: record.path.clone(),
        matched: found.matched,
        layers: found.layers,
        tree: found.tree,
        traffic: found.traffic,
        lost: None,
        notes: Vec::new(),
        elapsed: Duration::ZERO,
    }))
}
