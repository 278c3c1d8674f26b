//! One directory of a cache.

use std::path::PathBuf;

use cachefs_store::refs::CachePart;

/// One of the directories of a cache.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheDirectory {
    /// Where it is.
    pub path: PathBuf,
    /// Its name under the key; `None` if the key has no parts.
    pub part: Option<CachePart>,
}
