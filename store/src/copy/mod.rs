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
mod create_entry;
mod destination;
mod directories;
mod file_content;
mod free_space;
mod large_files;
mod plan;
mod remove;
mod report;
mod task_queue;
#[cfg(test)]
mod tests;
mod writable;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};
use tokio::runtime::Handle;

pub use remove::{Removed, remove_unchanged};
pub use report::{CopyReport, Issue, IssueKind};

use crate::error::{Error, Result};
use crate::local::FrameReader;
use crate::progress::Progress;
use crate::stack::{MAX_PATH, Stack};
use destination::{Destination, OpenDirectories};
pub(crate) use file_content::FrameCursor;
use large_files::LargeFiles;
use plan::CopyPlan;
use report::Reporter;

/// Interval of reports to the caller's progress.
const REPORT_EVERY: Duration = Duration::from_millis(50);

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

/// State that all threads of one copy share.
struct CopyContext<'a> {
    stack: &'a Stack,
    plan: &'a CopyPlan,
    destination: Destination<'a>,
    reporter: Reporter<'a>,
    progress: &'a dyn Progress,
    large: LargeFiles,
    threads: usize,
    /// Directories that were made writable, with the permissions that they had.
    opened_up: Mutex<Vec<(usize, u32)>>,
    /// Set when something failed that makes the rest pointless.
    stop: AtomicBool,
    failed: Mutex<Option<Error>>,
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
        copy.large.remove_unfinished(&copy);
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

impl<'a> CopyContext<'a> {
    fn run(&self, reader: &FrameReader, runtime: &Handle) -> Result<()> {
        for directory in &self.plan.cut {
            let path = self
                .plan
                .path(&self.plan.directories[*directory as usize].at);
            let detail = format!("paths in it are longer than {MAX_PATH} bytes");
            self.reporter.issue(IssueKind::NotCreated, &path, detail);
        }
        self.make_directories()?;
        let transferred = || reader.stats().demand_bytes + reader.stats().prefetch_bytes;
        let mut seen = transferred();
        std::thread::scope(|scope| {
            let tasks = task_queue::start_feed(self, reader, runtime, scope);
            // Nothing is ever sent: the channel ends when the last worker does.
            let (working, worked) = crossbeam_channel::bounded::<()>(0);
            for _ in 0..self.threads {
                let (tasks, working) = (tasks.clone(), working.clone());
                let frames = FrameCursor::new(reader, runtime);
                scope.spawn(move || {
                    self.guard(self.write(&tasks, frames));
                    drop(working);
                });
            }
            drop((tasks, working));
            loop {
                let waited = worked.recv_timeout(REPORT_EVERY);
                let now = transferred();
                self.progress.transferred(now.saturating_sub(seen));
                seen = now;
                if waited == Err(RecvTimeoutError::Disconnected) {
                    break;
                }
            }
        });
        self.check()?;
        self.each(0..self.plan.links.len(), |number, open| {
            self.link(number, open)
        })?;
        self.finish_directories()
    }

    /// Writes the files of one task after the other.
    fn write(
        &self,
        tasks: &crossbeam_channel::Receiver<usize>,
        mut frames: FrameCursor<'_>,
    ) -> Result<()> {
        let mut open = OpenDirectories::new(&self.destination);
        for task in tasks {
            let (mut entries, mut bytes) = (0, 0);
            for part in &self.plan.parts[self.plan.tasks[task].clone()] {
                self.check_cancelled()?;
                self.write_part(part, &mut open, &mut frames)?;
                entries += u64::from(part.is_first);
                bytes += part.range.end - part.range.start;
            }
            self.progress.done(entries, bytes);
        }
        Ok(())
    }

    /// Calls `work` for every number of a range, from all threads.
    fn each(
        &self,
        range: std::ops::Range<usize>,
        work: impl Fn(usize, &mut OpenDirectories<'_>) -> Result<()> + Sync,
    ) -> Result<()> {
        /// Numbers that a thread takes at a time; neighbours mostly share a directory.
        const RUN: usize = 64;
        let next = std::sync::atomic::AtomicUsize::new(range.start);
        let run = || -> Result<()> {
            let mut open = OpenDirectories::new(&self.destination);
            loop {
                let first = next.fetch_add(RUN, Relaxed);
                if first >= range.end {
                    return Ok(());
                }
                self.check_cancelled()?;
                for number in first..(first + RUN).min(range.end) {
                    work(number, &mut open)?;
                }
            }
        };
        if range.len() <= RUN {
            self.guard(run());
        } else {
            std::thread::scope(|scope| {
                for _ in 0..self.threads {
                    scope.spawn(|| self.guard(run()));
                }
            });
        }
        self.check()
    }

    /// Notes a failure, so that all threads stop.
    fn guard(&self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.stop.store(true, Relaxed);
            self.failed.lock().get_or_insert(error);
        }
    }

    /// Fails when a thread has failed.
    fn check(&self) -> Result<()> {
        match self.failed.lock().take() {
            Some(error) => Err(error),
            None => self.check_cancelled(),
        }
    }

    fn check_cancelled(&self) -> Result<()> {
        let stop = self.stop.load(Relaxed) || self.progress.cancelled();
        if stop { Err(Error::Cancelled) } else { Ok(()) }
    }
}
