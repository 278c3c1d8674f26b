//! Reads one file, or every file of a tree with several threads.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags, openat};

use super::WorkTotals;
use super::dir::{Lister, WorkEntryKind, open_dir, open_root};
use crate::interrupt;

/// Buffer size of each `read`, as in `cat` and `cp`.
const READ: usize = 128 << 10;

/// Opens a file by path and reads it to the end.
pub(crate) fn read_file(path: &Path) -> Result<Duration> {
    let mut buffer = vec![0; READ];
    let start = Instant::now();
    let read = read_at(rustix::fs::CWD, path, &mut buffer);
    let wall = start.elapsed();
    read.with_context(|| format!("could not read {}", path.display()))?;
    Ok(wall)
}

/// Walks a tree and reads every regular file to the end; each thread takes one directory at a time.
///
/// The byte total of the result counts the bytes actually read.
pub(crate) fn read_all_files(root: &Path, threads: usize) -> Result<(Duration, WorkTotals)> {
    let start = Instant::now();
    let read = read_tree(root, threads);
    let wall = start.elapsed();
    let totals = read.with_context(|| format!("could not read all of {}", root.display()))?;
    Ok((wall, totals))
}

fn read_tree(root: &Path, threads: usize) -> io::Result<WorkTotals> {
    let root = open_root(root)?;
    let queue = ReadQueue::new();
    let worker = || {
        let result = read_directories(&root, &queue);
        if result.is_err() {
            queue.give_up();
        }
        result
    };
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join()).collect()
    });
    let mut totals = WorkTotals::default();
    for result in results {
        let part = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        totals.entries += part.entries;
        totals.files += part.files;
        totals.bytes += part.bytes;
    }
    Ok(totals)
}

/// The loop of one thread: reads directories until none is left.
fn read_directories(root: &OwnedFd, queue: &ReadQueue) -> io::Result<WorkTotals> {
    let mut totals = WorkTotals::default();
    let mut lister = Lister::new();
    let mut buffer = vec![0; READ];
    while let Some(path) = queue.take() {
        interrupt::check_io()?;
        let dir = if path.as_os_str().is_empty() {
            root.try_clone()?
        } else {
            open_dir(root, &path)?
        };
        let mut below = Vec::new();
        for entry in lister.list(&dir)? {
            totals.entries += 1;
            match entry.kind {
                WorkEntryKind::Directory => {
                    below.push(path.join(OsStr::from_bytes(entry.name.to_bytes())));
                }
                WorkEntryKind::File => {
                    totals.files += 1;
                    totals.bytes += read_at(&dir, &entry.name, &mut buffer)?;
                }
                WorkEntryKind::Symlink | WorkEntryKind::Special => {}
            }
        }
        queue.done(below);
    }
    Ok(totals)
}

fn read_at(dir: impl AsFd, name: impl rustix::path::Arg, buffer: &mut [u8]) -> io::Result<u64> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(dir, name, flags, Mode::empty())?;
    let mut bytes = 0;
    loop {
        match rustix::io::read(&file, &mut *buffer)? {
            0 => return Ok(bytes),
            read => bytes += read as u64,
        }
    }
}

/// The directories still to be read.
struct ReadQueue {
    state: Mutex<ReadQueueState>,
    changed: Condvar,
}

struct ReadQueueState {
    /// Paths relative to the root. The last is taken first (depth-first), which keeps the list
    /// short.
    waiting: Vec<PathBuf>,
    /// Directories waiting or being read; zero ends the walk.
    open: usize,
}

impl ReadQueue {
    fn new() -> Self {
        let state = ReadQueueState {
            waiting: vec![PathBuf::new()],
            open: 1,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Takes a directory, waiting for one if necessary. Returns `None` at the end of the walk.
    fn take(&self) -> Option<PathBuf> {
        let state = self.lock();
        let empty = |state: &mut ReadQueueState| state.waiting.is_empty() && state.open > 0;
        let waited = self.changed.wait_while(state, empty);
        waited.unwrap_or_else(PoisonError::into_inner).waiting.pop()
    }

    /// Marks a directory as read and queues its subdirectories.
    fn done(&self, below: Vec<PathBuf>) {
        let mut state = self.lock();
        state.open += below.len();
        state.open -= 1;
        state.waiting.extend(below);
        self.changed.notify_all();
    }

    /// Stops all threads after an error.
    fn give_up(&self) {
        let mut state = self.lock();
        state.waiting.clear();
        state.open = 0;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, ReadQueueState> {
        // No critical section can panic halfway, so a poisoned lock is safe to use.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::work::find;

    #[test]
    fn any_number_of_threads_reads_everything_once() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        for number in 0..40_usize {
            let dir = root.join(format!("{}/{number}", number % 7));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("file"), vec![b'x'; number * 10_000]).unwrap();
        }
        symlink("/dev/zero", root.join("endless")).unwrap();
        let (_, wanted) = find::find_tree(root).unwrap();
        assert_eq!(wanted.bytes, 10_000 * (0..40).sum::<u64>());
        for threads in [1, 2, 5] {
            assert_eq!(read_all_files(root, threads).unwrap().1, wanted);
        }
    }

    #[test]
    fn a_failure_ends_all_threads() {
        let temp = tempfile::tempdir().unwrap();
        for number in 0..10 {
            fs::create_dir_all(temp.path().join(format!("{number}/below"))).unwrap();
        }
        let queue = ReadQueue::new();
        queue.give_up();
        assert_eq!(queue.take(), None);
        read_all_files(&temp.path().join("none"), 3).unwrap_err();
        read_file(&temp.path().join("none")).unwrap_err();
    }
}
