//! The paths that a job has changed of the cache that was restored for it.

use std::path::Path;
use std::time::Duration;

use cachefs_store::progress::Progress;
use cachefs_store::refs::RefName;
use cachefs_store::remote::{RemoteSpec, RemoteTraffic};
use cachefs_store::save::{PathChange, SaveRequest};
use cachefs_store::session::Session;

use super::{begin, source};
use crate::error::{Error, Result};
use crate::mounts::MountRecords;
use crate::store_dir::StoreDir;
use cachefs_store::Hint;

/// The changes of a restored path.
#[derive(Debug)]
pub struct PathChanges {
    /// The key that was restored there.
    pub name: RefName,
    /// The paths, in order.
    pub paths: Vec<PathChange>,
    /// The traffic of the search.
    pub traffic: RemoteTraffic,
}

/// Lists the changes of a path since its restore. Writes nothing; of a mount, only written files
/// are read.
///
/// The remote is the one that the path was restored from, with the options and credentials of
/// `remote`.
pub fn list_path_changes(
    store: &StoreDir,
    path: &Path,
    remote: &RemoteSpec,
    deadline: Option<Duration>,
    progress: &dyn Progress,
) -> Result<PathChanges> {
    let found = source::find_source(&MountRecords::new(store), path)?;
    let Some(record) = &found.record else {
        return Err(Error::usage(
            format!("no cache was restored to {}", path.display()),
            Hint::ListRestores,
        ));
    };
    let remote = RemoteSpec {
        url: record.remote.clone(),
        ..remote.clone()
    };
    let request = SaveRequest {
        fallback: vec![record.asked_in.clone()],
        dry_run: true,
        ..SaveRequest::new(record.name.clone())
    };
    let session = Session::open(store.local(), &remote, deadline)?;
    let job = begin(store, &session, request, found.named_in())?;
    Ok(PathChanges {
        name: record.name.clone(),
        paths: job.list_changes(&found.source, progress)?,
        traffic: session.traffic(),
    })
}
