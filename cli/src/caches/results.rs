//! Results of restores and saves, one for each directory of each cache.

use std::path::PathBuf;
use std::sync::Arc;

use cachefs::restore::RestoreReport;
use cachefs_store::refs::{CachePart, Resolved, Scope};
use cachefs_store::save::SaveReport;

use super::cache::{ExpandedKeys, ResolvedCache};
use crate::failure::CommandFailure;

/// Result of an operation on one directory of one cache. Text, JSON, CI outputs and metrics are all
/// printed from it.
#[derive(Debug)]
pub(crate) struct DirectoryResult<R> {
    /// The cache.
    pub(crate) cache: Arc<ResolvedCache>,
    /// One of its directories; if the cache failed before its directories were known, its first
    /// path as the user wrote it.
    pub(crate) path: PathBuf,
    /// The part of the key that the directory is, if the cache has several paths.
    pub(crate) part: Option<CachePart>,
    /// Whether the cache may have several directories.
    pub(crate) several: bool,
    /// The directory in the form that machines share, if it is below the workspace or the home
    /// directory.
    pub(crate) place: Option<CachePart>,
    /// Its keys; `None` if they could not be expanded, which is the failure then.
    pub(crate) keys: Option<Arc<ExpandedKeys>>,
    /// The scopes of the operation: those that were searched, in order, or the one that was saved
    /// to. Empty if a scope has an invalid name.
    pub(crate) scopes: Vec<Scope>,
    /// The library's report, or the failure.
    pub(crate) result: Result<R, CommandFailure>,
    /// Short reason why the exact key was not found.
    pub(crate) reason: Option<String>,
    /// Exit code of this result.
    pub(crate) code: u8,
}

/// Result of a restore.
pub(crate) type RestoredDirectory = DirectoryResult<RestoreReport>;

/// Result of a save.
pub(crate) type SavedDirectory = DirectoryResult<SaveReport>;

impl<R> DirectoryResult<R> {
    /// The key that was restored or saved; empty if the templates gave none.
    pub(crate) fn key(&self) -> &str {
        let keys = self.keys.as_ref();
        keys.and_then(|keys| keys.top())
            .map_or("", |key| key.as_str())
    }

    /// Whether the result is the only one of a command whose flags describe one cache.
    pub(super) fn is_alone(&self) -> bool {
        self.cache.name.is_none() && !self.several
    }
}

impl RestoredDirectory {
    /// The match of the cache's own key.
    pub(crate) fn main(&self) -> Option<&Resolved> {
        self.result.as_ref().ok()?.matched.last()?.as_ref()
    }

    /// Whether no key was found.
    #[cfg(feature = "harness")]
    pub(crate) fn missed(&self) -> bool {
        let outcome = self.result.as_ref().map(|report| &report.outcome);
        matches!(outcome, Ok(cachefs::restore::RestoreOutcome::Miss))
    }
}
