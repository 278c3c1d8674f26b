//! Saving the files of a tar archive.

use std::time::Duration;

use cachefs_store::archive::ReadOptions;
use cachefs_store::progress::Progress;
use cachefs_store::remote::RemoteSpec;
use cachefs_store::save::SaveRequest;
use cachefs_store::save::import::{ArchiveSource, ImportReport};
use cachefs_store::session::Session;

use super::begin;
use crate::error::Result;
use crate::store_dir::StoreDir;

/// A key to import an archive under, and where to.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The remote.
    pub remote: RemoteSpec,
    /// The time that one request to the remote may take.
    pub deadline: Option<Duration>,
    /// The key, and how to save it.
    pub request: SaveRequest,
    /// The names in the archive that are taken, and how much it may hold.
    pub read: ReadOptions,
}

/// Saves the files of an archive under a key, with the daemon's index. `open` opens the archive at its
/// beginning; see [`SaveJob::import`](cachefs_store::save::SaveJob::import).
pub fn import_archive<'a>(
    store: &StoreDir,
    options: &ImportOptions,
    open: &mut dyn FnMut() -> Result<Option<ArchiveSource<'a>>>,
    progress: &dyn Progress,
) -> Result<ImportReport> {
    let session = Session::open(store.local(), &options.remote, options.deadline)?;
    let job = begin(store, &session, options.request.clone(), None)?;
    job.import(&options.read, open, progress)
}
