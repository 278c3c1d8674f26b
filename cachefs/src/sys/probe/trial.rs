//! Mounts made to see whether they can be made.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use super::ProbeFinding;
use crate::sys::MountError;
use crate::sys::filesystem::FilesystemKind;
use crate::sys::fuse_mount::{FuseMountOptions, mount_fuse};
use crate::sys::overlay::{OverlayLower, OverlayMount, OverlayOptions, mount_overlay};
use crate::sys::upper::{MarkNamespace, Redirect, directory_marks, is_whiteout, marks_at};

/// Why a trial did not succeed.
pub(super) enum TrialError {
    /// The mount was refused.
    Mount(MountError),
    /// Something around the mount failed.
    Io {
        what: &'static str,
        source: io::Error,
    },
    /// The overlay was mounted, but its upper lacks expected marks.
    Marks(&'static str),
}

impl From<MountError> for TrialError {
    fn from(error: MountError) -> Self {
        Self::Mount(error)
    }
}

/// Adds the name of the step to a failure.
fn name_trial_step<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> TrialError {
    move |error| TrialError::Io {
        what,
        source: error.into(),
    }
}

/// A directory of the store that is removed with its contents.
struct Scratch(PathBuf);

impl Scratch {
    fn new(store: &Path) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // A mount point is named without links.
        let store = store.canonicalize()?;
        let path = store.join(format!(".probe-{}-{count}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The trial's mounts went with its namespace; only its own files are left.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a trial on a thread with a mount namespace of its own.
pub(super) fn in_private_namespace(
    store: &Path,
    trial: fn(&Path) -> Result<(), TrialError>,
) -> Result<(), TrialError> {
    let scratch =
        Scratch::new(store).map_err(name_trial_step("cannot create a directory in the store"))?;
    let dir = &scratch.0;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("mount-trial".to_owned())
            .spawn_scoped(scope, || {
                // SAFETY: no descriptors are unshared; the thread alone leaves the namespace, and
                // ends before this function returns.
                unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.map_err(
                    |errno| MountError::NotPermitted {
                        filesystem: "anything",
                        target: dir.clone(),
                        source: errno.into(),
                    },
                )?;
                let quiet = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
                rustix::mount::mount_change("/", quiet)
                    .map_err(name_trial_step("cannot make the mount namespace private"))?;
                trial(dir)
            })
            .map_err(name_trial_step("cannot start a thread"))?;
        thread.join().unwrap_or(Err(TrialError::Io {
            what: "the test panicked",
            source: io::Error::from(io::ErrorKind::Other),
        }))
    })
}

/// Mounts and unmounts a FUSE filesystem that nobody serves.
pub(super) fn try_fuse(dir: &Path) -> Result<(), TrialError> {
    let device = mount_fuse(dir, &FuseMountOptions::default())?;
    drop(device);
    rustix::mount::unmount(dir, UnmountFlags::DETACH)
        .map_err(name_trial_step("cannot unmount the test mount"))
}

/// Mounts an overlay, changes something of each kind, and looks for the marks in its upper.
pub(super) fn try_overlay(dir: &Path) -> Result<(), TrialError> {
    let part = |name: &str| dir.join(name);
    let (lower, upper, merged) = (part("lower"), part("upper"), part("merged"));
    for path in [
        &lower,
        &upper,
        &part("work"),
        &merged,
        &lower.join("replaced"),
        &lower.join("moved"),
    ] {
        fs::create_dir(path).map_err(name_trial_step("cannot create a directory in the store"))?;
    }
    fs::write(lower.join("removed"), b"x")
        .map_err(name_trial_step("cannot write a file in the store"))?;
    let options = OverlayOptions::for_caller();
    mount_overlay(&OverlayMount {
        lowers: &[OverlayLower::Dir(&lower)],
        upper: &upper,
        work: &part("work"),
        target: &merged,
        options: &options,
    })?;
    let changed = change_overlay(&merged, options.redirect_dir);
    rustix::mount::unmount(&merged, UnmountFlags::DETACH)
        .map_err(name_trial_step("cannot unmount the test mount"))?;
    changed.map_err(name_trial_step("cannot change the test overlay"))?;
    check_marks(&upper, &options)
}

fn change_overlay(merged: &Path, rename: bool) -> io::Result<()> {
    fs::remove_file(merged.join("removed"))?;
    fs::remove_dir(merged.join("replaced"))?;
    fs::create_dir(merged.join("replaced"))?;
    if rename {
        fs::rename(merged.join("moved"), merged.join("renamed"))?;
    }
    Ok(())
}

fn check_marks(upper: &Path, options: &OverlayOptions) -> Result<(), TrialError> {
    let unreadable = "cannot read the upper directory of the test overlay";
    let namespace = if options.userxattr {
        MarkNamespace::User
    } else {
        MarkNamespace::Trusted
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, upper, flags, Mode::empty())
        .map_err(name_trial_step(unreadable))?;
    let removed = rustix::fs::lstat(upper.join("removed")).map_err(name_trial_step(unreadable))?;
    if !is_whiteout(&removed) {
        return Err(TrialError::Marks("removed files"));
    }
    let replaced =
        marks_at(dir.as_fd(), b"replaced", namespace).map_err(name_trial_step(unreadable))?;
    if !replaced.opaque {
        return Err(TrialError::Marks("replaced directories"));
    }
    if options.redirect_dir {
        let renamed =
            marks_at(dir.as_fd(), b"renamed", namespace).map_err(name_trial_step(unreadable))?;
        if renamed.redirect != Some(Redirect::Sibling(b"moved".to_vec())) {
            return Err(TrialError::Marks("renamed directories"));
        }
    }
    directory_marks(dir.as_fd(), namespace).map_err(name_trial_step(unreadable))?;
    Ok(())
}

/// Reports the filesystem of the store, and whether it can hold uppers.
pub(super) fn store_filesystem(store: &Path) -> ProbeFinding {
    const NAME: &str = "store-filesystem";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let kind = rustix::fs::openat(CWD, store, flags, Mode::empty())
        .and_then(|dir| FilesystemKind::of(dir.as_fd()));
    match kind {
        Err(errno) => ProbeFinding::fail(
            NAME,
            format!("cannot read {}: {errno}", store.display()),
            None,
        ),
        Ok(FilesystemKind::Overlay) => {
            ProbeFinding::failed_mount(NAME, &MountError::UpperOnOverlay(store.to_owned()))
        }
        Ok(FilesystemKind::Tmpfs) => ProbeFinding::warn(
            NAME,
            "the store is in memory",
            "cached data uses memory and is lost on reboot",
        ),
        Ok(kind) => match kind.unfit_for_upper() {
            Some(reason) => ProbeFinding::failed_mount(
                NAME,
                &MountError::UpperUnsuitable {
                    path: store.to_owned(),
                    reason: reason.to_owned(),
                },
            ),
            None => ProbeFinding::ok(NAME, "the store is on a local filesystem"),
        },
    }
}
