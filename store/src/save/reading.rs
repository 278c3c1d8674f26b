//! How the files of a directory are read: as plain files, or as those of an overlay.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use rustix::fs::Stat;

/// Meaning of an entry for a save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// An ordinary entry.
    Plain,
    /// A removal.
    Whiteout,
    /// A directory that also has entries of other layers.
    Directory {
        /// Hides the entries of lower layers.
        opaque: bool,
        /// Its lower part is at this other path: absolute from the root, or a name next to it.
        redirect: Option<Vec<u8>>,
    },
}

/// How a directory tree is to be understood.
pub trait Reading: Sync {
    /// Returns the meaning of an entry.
    fn mark(&self, parent: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> std::io::Result<Mark>;

    /// Whether an extended attribute belongs to the file, rather than to a filesystem's own
    /// bookkeeping.
    fn keep_xattr(&self, name: &[u8]) -> bool;

    /// Whether the tree is a change of lower layers, so that a file that vanished must hide the
    /// one below it.
    fn has_lower_layers(&self) -> bool {
        false
    }
}

/// Treats all entries as ordinary ones.
#[derive(Debug, Clone, Copy)]
pub struct PlainFiles;

impl Reading for PlainFiles {
    fn mark(&self, _: BorrowedFd<'_>, _: &CStr, _: &Stat) -> std::io::Result<Mark> {
        Ok(Mark::Plain)
    }

    fn keep_xattr(&self, name: &[u8]) -> bool {
        !name.starts_with(b"trusted.overlay.") && !name.starts_with(b"user.overlay.")
    }
}

/// An entry that can't be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where it is, relative to the root.
    pub path: PathBuf,
    /// Kind of the entry.
    pub what: &'static str,
}
