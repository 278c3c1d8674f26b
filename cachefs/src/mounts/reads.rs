//! Which files of a mounted cache were read.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cachefs_store::id::StackId;
use cachefs_store::layer::mode;
use cachefs_store::stack::{Stack, StackWalk};

use super::{MountRecord, MountRecords};
use crate::error::{Error, Result};
use crate::rpc::DaemonClient;
use crate::store_dir::StoreDir;
use crate::sys::mountinfo::MountTable;
use crate::sys::page_cache::has_pages;
use crate::view::ReadReport;

/// How a file of a cache was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Use {
    /// At least a part of the file was read.
    Read,
    /// The kernel fetched a part of the file along with a neighbour, and no program read it; or it
    /// was read so long ago that the kernel has evicted it.
    Passed,
    /// It was never requested.
    Never,
}

/// A file of a cache that has content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUse {
    /// Path in the cache, without a leading slash.
    pub path: Vec<u8>,
    /// Its size in bytes.
    pub size: u64,
    /// How it was used.
    pub used: Use,
}

/// The use of a mounted cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheUse {
    /// Its files with content, in the order of paths; one with several names has the first.
    pub files: Vec<FileUse>,
    /// Whether files that were only fetched along could be distinguished from those that were read.
    pub told_apart: bool,
    /// Frames read, waited for, and lying idle.
    pub report: ReadReport,
}

/// Reports the reads of the cache at a path, whose stack is `stack`; `None` if no daemon serves it.
///
/// The daemon knows the requests of the kernel. In an image, files are adjacent, so the kernel
/// requests more than programs read; therefore we also check which files have pages in the kernel's
/// cache.
pub fn cache_use(
    store: &StoreDir,
    record: &MountRecord,
    stack: &Stack,
) -> Result<Option<CacheUse>> {
    let Some(mut client) = DaemonClient::connect_running(store)? else {
        return Ok(None);
    };
    let name = StackId::of(record.layers.iter().map(|layer| &layer.id));
    let Some(report) = client.reads(name)? else {
        return Ok(None);
    };
    let asked: HashMap<u64, u64> = report.files.iter().copied().collect();
    let records = MountRecords::new(store);
    let table = MountTable::read().map_err(Error::io("read", "/proc/self/mountinfo"))?;
    let image = records.image(record);
    let root = match table.topmost_at(&image) {
        Some(_) => image,
        None => records.view(record),
    };
    let mut told_apart = true;
    let mut seen = HashSet::new();
    let mut files = Vec::new();
    for entry in StackWalk::new(stack) {
        let entry = entry?;
        let attr = &entry.attr;
        let counts = attr.kind() == mode::FILE && attr.size > 0;
        if !counts || (attr.links > 1 && !seen.insert(attr.ino)) {
            continue;
        }
        let used = match asked.contains_key(&attr.ino.number()) {
            false => Use::Never,
            true if !told_apart => Use::Read,
            true => match is_held(&root, &entry.path) {
                Ok(true) => Use::Read,
                Ok(false) => Use::Passed,
                Err(error) => {
                    tracing::debug!("cannot determine the kernel's read-ahead: {error}");
                    told_apart = false;
                    Use::Read
                }
            },
        };
        files.push(FileUse {
            size: attr.size,
            path: entry.path,
            used,
        });
    }
    if !told_apart {
        for file in &mut files {
            if file.used == Use::Passed {
                file.used = Use::Read;
            }
        }
    }
    Ok(Some(CacheUse {
        files,
        told_apart,
        report,
    }))
}

fn is_held(root: &Path, path: &[u8]) -> io::Result<bool> {
    let file = File::open(root.join(OsStr::from_bytes(path)))?;
    has_pages(file.as_fd())
}
