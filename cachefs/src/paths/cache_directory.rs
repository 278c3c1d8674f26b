//! One directory of a cache.

use std::path::PathBuf;

use cachefs_store::refs::CachePart;

/// One of the directories of a cache.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheDirectory {
    /// Where it is.
    pub path: PathBuf,
    /// What it is called under the key; `None` when it is all that the key holds.
    pub part: Option<CachePart>,
}
