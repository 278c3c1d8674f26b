//! The order of a copy, and its threads.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use tokio::runtime::Handle;

use super::context::CopyContext;
use super::destination::OpenDirectories;
use super::file_content::FrameCursor;
use super::report::IssueKind;
use super::task_queue;
use crate::error::{Error, Result};
use crate::local::FrameReader;
use crate::path_limit::MAX_PATH;

/// Interval of reports to the caller's progress.
const REPORT_EVERY: Duration = Duration::from_millis(50);

impl<'a> CopyContext<'a> {
    pub(super) fn run(&self, reader: &FrameReader, runtime: &Handle) -> Result<()> {
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
    pub(super) fn write(
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
    pub(super) fn each(
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
    pub(super) fn guard(&self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.stop.store(true, Relaxed);
            self.failed.lock().get_or_insert(error);
        }
    }

    /// Fails when a thread has failed.
    pub(super) fn check(&self) -> Result<()> {
        match self.failed.lock().take() {
            Some(error) => Err(error),
            None => self.check_cancelled(),
        }
    }

    pub(super) fn check_cancelled(&self) -> Result<()> {
        let stop = self.stop.load(Relaxed) || self.progress.cancelled();
        if stop { Err(Error::Cancelled) } else { Ok(()) }
    }
}
