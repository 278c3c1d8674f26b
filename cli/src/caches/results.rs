//! Results of restores and saves, one for each directory of each cache.

use std::path::PathBuf;
use std::sync::Arc;

use cachefs::restore::RestoreReport;
use cachefs_store::refs::{CachePart, Key, Resolved, Scope};
use cachefs_store::save::SaveReport;

use super::cache::{ExpandedKeys, ResolvedCache};
use crate::failure::CommandFailure;

/// Result of one directory of one cache.
#[derive(Debug)]
pub(crate) struct RestoredDirectory {
    /// The cache.
    pub(crate) cache: Arc<ResolvedCache>,
    /// Which of its directories; of a cache that got no further, its first path as it was written.
    pub(crate) path: PathBuf,
    /// Which part of the key that is, if the cache has several paths.
    pub(crate) part: Option<CachePart>,
    /// Whether the cache may have several directories.
    pub(crate) several: bool,
    /// Where that is in the form that machines share, if it is below the workspace or at home.
    pub(crate) place: Option<CachePart>,
    /// Its keys; `None` when they could not be expanded, which is the failure then.
    pub(crate) keys: Option<Arc<ExpandedKeys>>,
    /// The scopes that were looked in, in their order; none when they have impossible names.
    pub(crate) scopes: Vec<Scope>,
    /// The library's report, or the failure.
    pub(crate) result: Result<RestoreReport, CommandFailure>,
    /// Short reason why the exact key was not found.
    pub(crate) why: Option<String>,
    /// Exit code of this result.
    pub(crate) code: u8,
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

/// Result of one directory of one cache.
#[derive(Debug)]
pub(crate) struct SavedDirectory {
    /// The cache.
    pub(crate) cache: Arc<ResolvedCache>,
    /// Which of its directories; of a cache that got no further, its first path as it was written.
    pub(crate) path: PathBuf,
    /// Which part of the key that is, if the cache has several paths.
    pub(crate) part: Option<CachePart>,
    /// Whether the cache may have several directories.
    pub(crate) several: bool,
    /// The scope that was saved to.
    pub(crate) scope: Scope,
    /// Its keys; `None` when they could not be expanded, which is the failure then.
    pub(crate) keys: Option<Arc<ExpandedKeys>>,
    /// The library's report, or the failure.
    pub(crate) result: Result<SaveReport, CommandFailure>,
    /// Exit code of this result.
    pub(crate) code: u8,
}

impl SavedDirectory {
    /// The key that was saved, if the templates gave one.
    pub(crate) fn key(&self) -> Option<&Key> {
        self.keys.as_ref()?.main.as_ref().map(|(key, _)| key)
    }
}
