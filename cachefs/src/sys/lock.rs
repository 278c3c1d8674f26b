//! A lock file that names its holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The longest holder line that is read back, in bytes.
const MAX_LINE: u64 = 64;

/// An exclusive lock, held until it is dropped or the process ends.
///
/// The file stays: removing it would let two processes lock two files of one name. A process
/// started while the lock is held does not inherit it (the descriptor is close-on-exec).
#[derive(Debug)]
pub struct LockFile {
    file: File,
    path: PathBuf,
}

/// Why a lock was not taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process holds it.
    #[error("{} is held by {}", path.display(), pid.map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The holder's process id in the holder's own PID namespace, if it has written it.
        pid: Option<u32>,
    },
    /// The file cannot be opened, locked or written.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
}

impl LockFile {
    /// Takes the lock without waiting, and writes this process's id into the file.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process (or another `LockFile` of this one) has it.
    pub fn try_acquire(path: &Path) -> Result<Self, LockError> {
        let io_error = |source| LockError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false) // it may be another's
            .mode(0o600)
            .open(path)
            .map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    path: path.to_owned(),
                    pid: written_pid(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io_error(source)),
        }
        write_pid(&mut file).map_err(io_error)?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Whether somebody holds the lock. Takes and writes nothing that could be seen.
    ///
    /// # Errors
    /// [`LockError::Io`]; a file that does not exist is held by nobody.
    pub fn is_held(path: &Path) -> Result<bool, LockError> {
        let io_error = |source| LockError::Io {
            path: path.to_owned(),
            source,
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(io_error(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(io_error(source)),
        }
    }

    /// The process that wrote its id into the file last; the holder, if there is one.
    pub fn holder(path: &Path) -> Option<u32> {
        written_pid(&mut File::open(path).ok()?)
    }

    /// A lock that was taken by the program which ran in this process before.
    pub(crate) fn inherited(fd: OwnedFd, path: &Path) -> Self {
        Self {
            file: File::from(fd),
            path: path.to_owned(),
        }
    }

    /// Where the lock file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Closing alone would leave it locked while a child that another thread has forked has
        // not yet executed its program. Nothing can be done about an error; closing follows.
        let _ = self.file.unlock();
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

/// Reads the id; a holder that has just taken the lock may not have written it yet.
fn written_pid(file: &mut File) -> Option<u32> {
    let mut line = String::new();
    file.take(MAX_LINE).read_to_string(&mut line).ok()?;
    line.strip_suffix('\n')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_second_is_told_who_is_first() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("daemon.lock");
        let lock = LockFile::try_acquire(&path).unwrap();
        let refused = LockFile::try_acquire(&path).unwrap_err();
        assert!(matches!(refused, LockError::Held { pid, .. } if pid == Some(std::process::id())));
        assert!(refused.to_string().contains("is held by process"));
        assert_eq!(LockFile::holder(&path), Some(std::process::id()));
        drop(lock);
        LockFile::try_acquire(&path).unwrap();
    }

    #[test]
    fn a_child_does_not_inherit_the_lock() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("daemon.lock");
        let lock = LockFile::try_acquire(&path).unwrap();
        let child = std::process::Command::new("readlink")
            .args(["/proc/self/fd/0", "/proc/self/fd/1"])
            .arg(format!("/proc/self/fd/{}", lock.file.as_raw_fd()))
            .output()
            .unwrap();
        let open = String::from_utf8(child.stdout).unwrap();
        assert_eq!(open.matches('\n').count(), 2, "{open}");
        assert!(!open.contains("daemon.lock"), "{open}");
    }

    #[test]
    fn what_an_earlier_holder_wrote_is_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("daemon.lock");
        std::fs::write(&path, "4194304999999 and more\n").unwrap();
        let lock = LockFile::try_acquire(&path).unwrap();
        let expected = format!("{}\n", std::process::id());
        assert_eq!(std::fs::read_to_string(lock.path()).unwrap(), expected);
    }
}
