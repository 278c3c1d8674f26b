//! The sandbox directory of a test, and its cleanup.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use rustix::mount::{UnmountFlags, unmount};

use super::process;

/// Maximum unmount rounds: unmounting can reveal further mounts underneath.
const UNMOUNT_ROUNDS: usize = 8;

/// A temporary directory in which a test may mount filesystems and start daemons.
#[derive(Debug)]
pub struct Sandbox {
    path: PathBuf,
    /// Binaries and store directories of the daemons to stop with the sandbox.
    watched: Mutex<Vec<(PathBuf, PathBuf)>>,
}

impl Sandbox {
    /// Creates a sandbox.
    ///
    /// # Errors
    ///
    /// If the directory cannot be created.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("cachefs-test-")
            .tempdir()
            .context("cannot make a sandbox")?;
        // `keep` disables the removal by `TempDir`, which would cross into mounts; our `Drop` does
        // not.
        let path = fs::canonicalize(dir.keep())?;
        Ok(Self {
            path,
            watched: Mutex::default(),
        })
    }

    /// Creates a sandbox that every user may enter, including the users that containers map to.
    ///
    /// # Errors
    ///
    /// If the directory cannot be created.
    pub fn open_to_all() -> Result<Self> {
        let sandbox = Self::new()?;
        fs::set_permissions(&sandbox.path, fs::Permissions::from_mode(0o755))?;
        Ok(sandbox)
    }

    /// The sandbox directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a directory in the sandbox.
    ///
    /// # Errors
    ///
    /// If it cannot be created.
    pub fn dir(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {path:?}"))?;
        Ok(path)
    }

    /// Mount points below the sandbox, in mount order.
    ///
    /// # Errors
    ///
    /// If the mount table cannot be read.
    pub fn mounts(&self) -> std::io::Result<Vec<PathBuf>> {
        let table = fs::read("/proc/self/mountinfo")?;
        let points = table.split(|byte| *byte == b'\n').filter_map(mount_point);
        Ok(points
            .filter(|point| point.starts_with(&self.path))
            .collect())
    }

    /// Registers a store whose daemon is stopped with the sandbox.
    pub(super) fn watch(&self, binary: &Path, store: &Path) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.push((binary.to_owned(), store.to_owned()));
    }

    /// Lazily unmounts everything below the sandbox, busy or not.
    fn unmount_all(&self) -> std::io::Result<()> {
        for _ in 0..UNMOUNT_ROUNDS {
            let mounts = self.mounts()?;
            if mounts.is_empty() {
                return Ok(());
            }
            for point in mounts.iter().rev() {
                // A mount hidden by another one is reached in the next round.
                unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).ok();
            }
        }
        Err(std::io::Error::other(
            "mounts come back or cannot be unmounted",
        ))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Nothing here may panic: this may run during a panic, and a second one aborts the process.
        let unmounted = self.unmount_all();
        let watched = std::mem::take(
            self.watched
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for (binary, store) in watched {
            process::end_all(&binary, &store);
        }
        // A daemon may have mounted something between the first unmount and its end.
        match unmounted.and_then(|()| self.unmount_all()) {
            Ok(()) => {
                if let Err(error) = fs::remove_dir_all(&self.path) {
                    eprintln!("sandbox {:?} is left: {error}", self.path);
                }
            }
            Err(error) => eprintln!("sandbox {:?} is left with its mounts: {error}", self.path),
        }
    }
}

/// The mount point in a line of `mountinfo`.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    Some(OsString::from_vec(unescape(field)).into())
}

/// Decodes the kernel's octal escapes for whitespace and backslashes, for example `\040`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        let line = br"36 35 98:0 / /mnt/a\040b\134c\012d rw - ext4 /dev/x rw";
        assert_eq!(mount_point(line).unwrap(), Path::new("/mnt/a b\\c\nd"));
        assert_eq!(mount_point(b""), None);
        assert_eq!(unescape(br"\9\04"), br"\9\04");
    }

    #[test]
    fn a_dropped_sandbox_is_gone() {
        let sandbox = Sandbox::new().unwrap();
        let path = sandbox.path().to_owned();
        fs::write(sandbox.dir("a/b").unwrap().join("c"), "x").unwrap();
        drop(sandbox);
        assert!(!path.exists());
    }

    #[test]
    fn mounts_are_taken_down_even_in_a_panic() {
        if !rustix::process::geteuid().is_root() {
            cachefs_skip::skip("root", "only root mounts");
            return;
        }
        let sandbox = Sandbox::new().unwrap();
        let path = sandbox.path().to_owned();
        let outside = Sandbox::new().unwrap();
        fs::write(outside.path().join("precious"), "x").unwrap();
        let (low, high) = (sandbox.dir("a b").unwrap(), sandbox.dir("high").unwrap());
        for point in [&low, &high, &high] {
            rustix::mount::mount_bind(outside.path(), point).unwrap();
        }
        assert_eq!(sandbox.mounts().unwrap().len(), 3);
        let _busy = fs::File::open(low.join("precious")).unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _sandbox = sandbox;
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert!(!path.exists());
        assert_eq!(fs::read(outside.path().join("precious")).unwrap(), b"x");
    }
}
