//! Pack files in a directory, kept open.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::id::PackId;
use crate::pack;
use crate::remote::open_object;

/// Number of packs that are kept open.
const OPEN_FILES: usize = 256;

/// Reads ranges of packs that lie in a directory under their object names.
#[derive(Debug)]
pub struct PackFiles {
    root: PathBuf,
    open: quick_cache::sync::Cache<PackId, Arc<File>>,
}

impl PackFiles {
    /// Uses the packs below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            open: quick_cache::sync::Cache::new(OPEN_FILES),
        }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a pack is or would be.
    pub fn path(&self, pack: &PackId) -> PathBuf {
        self.root.join(pack::object_key(pack).as_str())
    }

    fn file(&self, pack: &PackId) -> io::Result<Arc<File>> {
        self.open.get_or_insert_with(pack, || {
            // The directory may be one that other users can write to: a remote's own.
            open_object(&self.root, &pack::object_key(pack)).map(Arc::new)
        })
    }

    /// Reads exactly `length` bytes at `offset`; `None` when the file is missing or too short.
    pub fn read(&self, pack: &PackId, offset: u32, length: u32) -> io::Result<Option<Vec<u8>>> {
        let file = match self.file(pack) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; length as usize];
        match file.read_exact_at(&mut bytes, u64::from(offset)) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Forgets an open file, because it was replaced or deleted.
    pub fn forget(&self, pack: &PackId) {
        self.open.remove(pack);
    }
}
