//! Saves a path: determines its source, lets the store save it, and updates the path's record.
//!
//! [`SaveJob`] owns the order of a save. This module has the parts that involve mounts, records of
//! restored paths, and the daemon.

mod changes;
mod import;
mod source;
mod upper;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cachefs_store::id::StackId;
use cachefs_store::progress::Progress;
use cachefs_store::refs::Scope;
use cachefs_store::remote::{RemoteSpec, Spending};
use cachefs_store::save::source::{PathSource, PreviousSave};
use cachefs_store::save::{GatheredRanges, SaveJob, SaveOutcome, SaveReport, SaveRequest};
use cachefs_store::session::Session;

use crate::error::{Error, Result};
use crate::mounts::{How, MountRecord, MountRecords};
use crate::paths::refuse_overlap;
use crate::rpc::{DaemonClient, IndexOverSocket};
use crate::store_dir::StoreDir;

pub use changes::{PathChanges, list_path_changes};
pub use import::{ImportOptions, import_archive};

/// A path to save, and where to.
#[derive(Debug, Clone)]
pub struct SaveOptions {
    /// The directory.
    pub path: PathBuf,
    /// The remote.
    pub remote: RemoteSpec,
    /// The time that one request to the remote may take.
    pub deadline: Option<Duration>,
    /// The key, and how to save it.
    pub request: SaveRequest,
    /// Takes the traffic of the save, also when it fails.
    pub spent: Spending,
}

/// Saves a directory under a key.
pub fn save_path(
    store: &StoreDir,
    options: &SaveOptions,
    progress: &dyn Progress,
) -> Result<SaveReport> {
    let records = MountRecords::new(store);
    refuse_overlap(store, &options.remote, &options.path)?;
    let found = source::find_source(&records, &options.path)?;
    let session = Session::open(store.local(), &options.remote, options.deadline)?;
    let session = session.counted_in(&options.spent);
    let job = begin(store, &session, options.request.clone(), found.named_in())?;
    let report = job.run(found.source, progress)?;
    if options.request.dry_run || matches!(report.outcome, SaveOutcome::Kept) {
        return Ok(report);
    }
    let is_mount = found
        .record
        .as_ref()
        .is_some_and(|record| record.how == How::Mount);
    if let Some(record) = found.record {
        note_save(&records, record, &options.request, &report)?;
    }
    if is_mount && session.remote().local_dir().is_none() {
        let layers = report.layers.iter().map(|layer| &layer.id);
        publish_trace(store, report.base, StackId::of(layers));
    }
    Ok(report)
}

/// The spool of a server: a directory that this process made and that no other one writes to.
pub struct SpoolSource {
    /// The directory.
    pub directory: PathBuf,
    /// Files of which only some ranges are saved.
    pub gathered: GatheredRanges,
}

/// Saves a spool. Entries that the key has and the spool lacks stay.
pub fn save_spool(
    store: &StoreDir,
    session: &Session,
    request: SaveRequest,
    spool: SpoolSource,
    progress: &dyn Progress,
) -> Result<SaveReport> {
    let job = begin(store, session, request, None)?;
    let SpoolSource {
        directory,
        gathered,
    } = spool;
    let opened = File::open(&directory).map_err(Error::io("open", &directory))?;
    let source = PathSource::spool(opened, &directory, gathered);
    Ok(job.run(source, progress)?)
}

/// Begins a save with the daemon's index. The daemon is started only once the remote has answered.
fn begin(
    store: &StoreDir,
    session: &Session,
    request: SaveRequest,
    named_in: Option<&Scope>,
) -> Result<SaveJob> {
    let opened = session.save(request, named_in)?;
    let index = IndexOverSocket::connect(store.clone())?;
    Ok(opened.connect(Arc::new(index)))
}

/// Notes a save in the record of the restored path.
fn note_save(
    records: &MountRecords,
    mut record: MountRecord,
    request: &SaveRequest,
    report: &SaveReport,
) -> Result<()> {
    match (report.save, &report.outcome) {
        (Some(save), outcome) => {
            record.saved.retain(|saved| saved.name != request.name);
            record.saved.push(PreviousSave {
                name: request.name.clone(),
                save,
                layer: match outcome {
                    SaveOutcome::Saved(layer) => Some(layer.id),
                    _ => None,
                },
            });
        }
        // Only a mount shows which of its changes no save has taken up.
        (None, SaveOutcome::Unchanged) if record.how == How::Mount => {}
        (None, _) => return Ok(()),
    }
    record.taken_up = report.began;
    records.put(&record)
}

/// Has the daemon publish the trace of the job's reads of the old stack for the new one, for later
/// restores. The save has landed, so a failure is only logged.
fn publish_trace(store: &StoreDir, from: StackId, to: StackId) {
    let done = DaemonClient::connect_running(store)
        .and_then(|client| client.map_or(Ok(()), |mut client| client.publish_trace(from, to)));
    if let Err(error) = done {
        tracing::info!(
            "the trace of the job's reads is not published: {}",
            crate::error::describe_chain(&error)
        );
    }
}
