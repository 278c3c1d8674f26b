//! What is done with a tree, by the same code whoever provides the tree.

mod dir;
pub(crate) mod find;
pub(crate) mod read;
pub(crate) mod sync;

use serde::Serialize;

/// What a tree holds; its root is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct WorkTotals {
    /// Entries of all kinds.
    pub(crate) entries: u64,
    /// Regular files.
    pub(crate) files: u64,
    /// Bytes in regular files; a file with several names counts with each.
    pub(crate) bytes: u64,
}
