//! The path that is saved: a plain directory, or the upper directory of a mount.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::delta::MissingEntries;
use super::gathered::GatheredRanges;
use super::reading::{PlainFiles, Reading};
use super::tree::FileTree;
use crate::id::{LayerId, SaveId};
use crate::refs::{LayerInfo, RefName};
use crate::stack::Owner;

/// Where the files of a save come from, and the stack that they are a change of.
pub struct PathSource {
    directory: File,
    path: PathBuf,
    shown: PathBuf,
    reading: Box<dyn Reading>,
    restored: Option<RestoredFrom>,
    /// The stack that the files are compared with.
    pub(super) base: Vec<LayerInfo>,
    /// Whether the directory lists everything, rather than only changes.
    pub(super) complete: bool,
    /// Files of which only some ranges are saved.
    pub(super) gathered: GatheredRanges,
    /// Whether an earlier save may have listed the files of the directory.
    pub(super) is_listed: bool,
    /// Meaning of a missing entry.
    pub(super) deletions: MissingEntries,
}

/// The facts about a restored path that a save needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoredFrom {
    /// When a ref was last known to name the stack, in microseconds since 1970.
    pub at: u64,
    /// Whether the path shows device nodes, setuid bits and file capabilities.
    pub privileged: bool,
    /// The user that the path shows all entries to belong to; `None` for those they were saved from.
    pub owner: Option<Owner>,
    /// The last save of this path under each key. The next save under that key replaces it.
    pub saved: Vec<PreviousSave>,
}

impl RestoredFrom {
    /// The last save of this path under a key.
    pub(super) fn saved_under(&self, name: &RefName) -> Option<&PreviousSave> {
        self.saved.iter().find(|saved| saved.name == *name)
    }
}

/// An earlier save of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSave {
    /// The key.
    pub name: RefName,
    /// The save.
    pub save: SaveId,
    /// The layer with the changes of the path; `None` when there were none.
    pub layer: Option<LayerId>,
}

impl PathSource {
    /// A plain directory that no cache was restored to; `path` is absolute and without links.
    pub fn directory(directory: File, path: &Path) -> Self {
        Self {
            directory,
            path: path.to_owned(),
            shown: path.to_owned(),
            reading: Box::new(PlainFiles),
            restored: None,
            base: Vec::new(),
            complete: true,
            gathered: GatheredRanges::new(),
            is_listed: true,
            deletions: MissingEntries::Ignore,
        }
    }

    /// A directory that this process made for one save, such as the spool of a server. Of the files
    /// in `gathered`, only those ranges are saved.
    pub fn spool(directory: File, path: &Path, gathered: GatheredRanges) -> Self {
        Self {
            gathered,
            is_listed: false,
            ..Self::directory(directory, path)
        }
    }

    /// The upper directory of a mount that users see at `shown`. `reading` understands the marks that
    /// the kernel leaves in it.
    pub fn upper(directory: File, path: &Path, shown: &Path, reading: Box<dyn Reading>) -> Self {
        Self {
            shown: shown.to_owned(),
            reading,
            complete: false,
            is_listed: false,
            ..Self::directory(directory, path)
        }
    }

    /// The same path, which was restored from `base`: entries of `base` that it lacks were deleted.
    #[must_use]
    pub fn restored_from(self, base: Vec<LayerInfo>, restored: RestoredFrom) -> Self {
        Self {
            base,
            restored: Some(restored),
            deletions: MissingEntries::Record,
            ..self
        }
    }

    /// The directory that is read.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The directory that is read, absolute and without links.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path that users see: the same, unless it is a mount.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    pub(super) fn reading(&self) -> &dyn Reading {
        &*self.reading
    }

    pub(super) fn restored(&self) -> Option<&RestoredFrom> {
        self.restored.as_ref()
    }

    /// Whether the path, as scanned in `tree`, has no file at all, not even an excluded one.
    pub(super) fn is_empty(&self, tree: &FileTree) -> bool {
        if self.complete {
            !tree.has_files() && has_only_directories(&self.path)
        } else {
            std::fs::read_dir(&self.shown).is_ok_and(|mut entries| entries.next().is_none())
        }
    }
}

/// Whether nothing but directories is below a directory. One that cannot be read counts as a file.
fn has_only_directories(directory: &Path) -> bool {
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            return false;
        };
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))) {
                Ok((path, kind)) if kind.is_dir() => pending.push(path),
                _ => return false,
            }
        }
    }
    true
}
