//! Operations on a tree; the code is the same for every tool that provides the tree.

mod dir;
pub(crate) mod find;
pub(crate) mod read;
pub(crate) mod sync;

use serde::Serialize;

/// Totals of a tree, excluding its root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct WorkTotals {
    /// Entries of all kinds.
    pub(crate) entries: u64,
    /// Regular files.
    pub(crate) files: u64,
    /// Bytes in regular files; hard links count once per name.
    pub(crate) bytes: u64,
}
