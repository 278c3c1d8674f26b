//! Directories and mounts of a test, cleaned up even if the test fails.

use std::path::{Path, PathBuf};

use cachefs::sys::MountError;
use cachefs::sys::fuse_mount::{FuseMountOptions, mount_fuse};
use cachefs::sys::mountinfo::MountTable;
use cachefs::sys::overlay::{OverlayLower, OverlayMount, OverlayOptions, mount_overlay};
use cachefs::sys::unmount::{UnmountOptions, unmount_top};
use rustix::mount::UnmountFlags;

use crate::tinyfs::{Behaviour, serve};

/// A temporary directory for mounts; dropping it unmounts everything below it.
pub(crate) struct MountDir {
    temp: tempfile::TempDir,
}

impl MountDir {
    pub(crate) fn new() -> Self {
        Self {
            temp: tempfile::tempdir().unwrap(),
        }
    }

    /// Returns the path of `name`, and creates the directory if it is missing.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.temp.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn path(&self) -> &Path {
        self.temp.path()
    }

    /// Mounts the tiny filesystem at `name`; skips with `None` if the machine does not permit
    /// mounts.
    pub(crate) fn view(&self, name: &str, behaviour: Behaviour) -> Option<PathBuf> {
        let path = self.dir(name);
        let device = permitted(mount_fuse(&path, &FuseMountOptions::default()))?;
        serve(device, behaviour);
        Some(path)
    }

    /// Mounts an overlay at `merged` with the directories `upper` and `work`.
    pub(crate) fn overlay(
        &self,
        lowers: &[OverlayLower<'_>],
        options: &OverlayOptions,
    ) -> Result<PathBuf, MountError> {
        let (upper, work, target) = (self.dir("upper"), self.dir("work"), self.dir("merged"));
        let request = OverlayMount {
            lowers,
            upper: &upper,
            work: &work,
            target: &target,
            options,
        };
        mount_overlay(&request).map(|()| target)
    }
}

impl Drop for MountDir {
    fn drop(&mut self) {
        let below = |table: MountTable| -> Vec<PathBuf> {
            let points = table
                .entries()
                .iter()
                .map(|entry| entry.mount_point.clone());
            points
                .filter(|point| point.starts_with(self.temp.path()))
                .collect()
        };
        // Newest first: later mounts may lie inside or on top of earlier ones.
        for point in MountTable::read()
            .map(below)
            .unwrap_or_default()
            .iter()
            .rev()
        {
            let _ = rustix::mount::unmount(point, UnmountFlags::DETACH);
        }
    }
}

/// Unmounts and retries: a process that another test is starting briefly holds every mount, between
/// its fork and its exec.
pub(crate) fn down(path: &Path) {
    let patience = std::time::Duration::from_secs(10);
    unmount_top(
        path,
        UnmountOptions {
            lazy: false,
            patience,
        },
    )
    .unwrap();
}

/// Unwraps the result of a mount; skips with `None` if the machine does not permit mounts.
pub(crate) fn permitted<T>(result: Result<T, MountError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if error.is_environment() => {
            cachefs_skip::skip("mount", error);
            None
        }
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    }
}

/// Overlay options that the caller's namespace supports.
pub(crate) fn options_here() -> OverlayOptions {
    OverlayOptions::for_caller()
}
