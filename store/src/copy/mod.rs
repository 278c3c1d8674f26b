//! Copy mode: writes a stack as plain files.
//!
//! The whole copy is planned before anything is written: the directories, level by level; the
//! files, in the order of their bytes in the packs, so that each frame is decoded once; the names
//! that are hard links. Then the directories are created from the top down, all cores write files
//! while the next frames are fetched, links follow, and the directories get their attributes from
//! the bottom up.
//!
//! Existing entries are replaced, as `tar x` does; entries that the stack does not contain stay.
//! The user's own read-only directories are made writable during the copy. The target is opened
//! once, and everything is written through descriptors below it. Symbolic links there are never
//! followed, so neither a layer nor another process can redirect writes to places outside of it.

mod attributes;
mod context;
mod create_entry;
mod destination;
mod directories;
mod file_content;
mod free_space;
mod large_file_table;
mod large_files;
mod plan;
mod remove;
mod report;
mod run;
mod task_queue;
#[cfg(test)]
mod tests;
mod writable;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};
use tokio::runtime::Handle;

pub use remove::{Removed, remove_unchanged};
pub use report::{CopyReport, Issue, IssueKind};

use crate::error::{Error, Result};
use crate::local::FrameReader;
use crate::progress::Progress;
use crate::stack::Stack;
use context::CopyContext;
use destination::Destination;
pub(crate) use file_content::FrameCursor;
use large_file_table::LargeFiles;
use plan::CopyPlan;
use report::Reporter;

/// How a stack is written out.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// Sets the saved owners. Otherwise the copying user owns all entries, and setuid and setgid
    /// are kept only if that was the saved owner.
    pub owners: bool,
    /// Threads that write.
    pub threads: usize,
}

impl Default for CopyOptions {
    /// Owners for root, all cores.
    fn default() -> Self {
        Self {
            owners: rustix::process::geteuid().is_root(),
            threads: std::thread::available_parallelism().map_or(2, usize::from),
        }
    }
}

/// Writes everything in `stack` below `target`, which is created if need be. The target itself may be a
/// symbolic link.
///
/// # Errors
///
/// Those of [`copy_into`].
pub fn copy_out(
    stack: &Stack,
    reader: &FrameReader,
    runtime: &Handle,
    target: &Path,
    options: &CopyOptions,
    progress: &dyn Progress,
) -> Result<CopyReport> {
    std::fs::create_dir_all(target).map_err(Error::io("create", target))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(target, flags, Mode::empty())
        .map_err(|errno| Error::io("open directory", target)(errno.into()))?;
    copy_into(stack, reader, runtime, (root, target), options, progress)
}

/// Writes everything in `stack` into a directory that is open for reading; `target` also has its path,
/// for messages.
///
/// Blocks, and must be called from outside of `runtime`. An entry that can't be created where
/// others can (a device without the privilege, say) is part of the report. A full disk, damaged
/// data or a remote that fails ends the copy with an error, as does cancellation; then no file is
/// left half written, but the tree is not complete and the attributes of directories are not set.
pub fn copy_into(
    stack: &Stack,
    reader: &FrameReader,
    runtime: &Handle,
    (root, target): (OwnedFd, &Path),
    options: &CopyOptions,
    progress: &dyn Progress,
) -> Result<CopyReport> {
    if stack.layers().is_empty() {
        return Ok(CopyReport::default());
    }
    let plan = CopyPlan::new(stack, progress)?;
    free_space::check_room(&plan, &root, target, 0)?;
    progress.total(plan.entries(), plan.bytes);
    let copy = CopyContext {
        stack,
        plan: &plan,
        destination: Destination::new(root, &plan, options.owners),
        reporter: Reporter::new(target),
        progress,
        large: LargeFiles::new(&plan),
        threads: options.threads.max(1),
        opened_up: Mutex::default(),
        stop: AtomicBool::new(false),
        failed: Mutex::new(None),
    };
    let outcome = copy.run(reader, runtime);
    if outcome.is_err() {
        copy.remove_unfinished();
        copy.restore_permissions();
    }
    outcome?;
    Ok(copy.reporter.finish())
}

/// Fails when the disk has no room for a copy of `stack`, even after about `freed` bytes below `target`
/// were removed. For callers that remove something first.
///
/// # Errors
///
/// An I/O error of kind `StorageFull`; and those of reading the stack and the directory.
pub fn check_room(stack: &Stack, target: &Path, freed: u64, progress: &dyn Progress) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(target, flags, Mode::empty())
        .map_err(|errno| Error::io("open directory", target)(errno.into()))?;
    free_space::check_room(&CopyPlan::new(stack, progress)?, &root, target, freed)
}
