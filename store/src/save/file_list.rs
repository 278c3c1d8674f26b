//! Files of the store that list the contents which earlier saves found in a directory.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::pipeline::Packed;
use super::seen::Seen;
use super::tree::FileTree;
use crate::id::DomainId;
use crate::secrets::Scanner;

/// Lists of this many directories are kept, those written last: the directories of many jobs are
/// never seen again.
const KEPT: usize = 64;

/// The list of files of one directory, and of one domain: it says where chunks are.
pub(super) struct FileList {
    path: PathBuf,
    domain: DomainId,
}

impl FileList {
    /// The list of `directory`, an absolute path without links, in the local store `store`.
    pub(super) fn new(store: &Path, domain: DomainId, directory: &Path) -> Self {
        let mut name = blake3::Hasher::new();
        name.update(&domain.0)
            .update(directory.as_os_str().as_bytes());
        let name = &name.finalize().to_hex()[..24];
        Self {
            path: store.join("seen").join(name),
            domain,
        }
    }

    pub(super) fn read(&self) -> Option<Seen> {
        Seen::read(&self.path, &self.domain)
    }

    /// Writes the list; failing to only means that files are read again.
    pub(super) fn write(
        &self,
        tree: &FileTree,
        packed: &Packed,
        scanned: SystemTime,
        scanner: &Scanner,
    ) {
        let Some(folder) = self.path.parent() else {
            return;
        };
        let written = fs::create_dir_all(folder)
            .and_then(|()| Seen::write(&self.path, &self.domain, tree, packed, scanned, scanner));
        if let Err(error) = written {
            tracing::warn!("cannot write {}: {error}", self.path.display());
        }
        prune_lists(folder);
    }
}

/// Removes the oldest lists. The next save retries failed removals.
fn prune_lists(folder: &Path) {
    let lists = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut lists: Vec<_> = lists
        .filter_map(|list| Some((list.metadata().ok()?.modified().ok()?, list.path())))
        .collect();
    lists.sort_unstable();
    let excess = lists.len().saturating_sub(KEPT);
    for (_, list) in lists.drain(..excess) {
        let _ = fs::remove_file(list);
    }
}
