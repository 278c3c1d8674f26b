//! Directories at the destination that their owner made read-only.
//!
//! Go keeps its modules in directories of mode 0555, so a copy over an earlier one could not replace
//! anything in them. As `tar` does, a copy makes the user's own directories writable while it works. It
//! sets the mode that the stack has for them at the end, or the old one if it fails.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::layer::mode;

/// Permissions that an owner needs to list and fill a directory.
pub(super) const FILL: u32 = 0o700;

/// Gives the owner of a directory all rights, if that is this process and a right is missing. Returns
/// the permissions that it had.
///
/// `name` is an entry of `parent`, or empty for `parent` itself. Links are not followed.
pub(super) fn make_writable(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<u32>, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match name {
        b"" => None,
        name => Some(rustix::fs::openat(parent, name, flags, Mode::empty())?),
    };
    let directory = opened.as_ref().map_or(parent, AsFd::as_fd);
    let stat = rustix::fs::statat(directory, "", AtFlags::EMPTY_PATH)?;
    let permissions = stat.st_mode & !mode::TYPE;
    let is_own = stat.st_uid == rustix::process::geteuid().as_raw();
    if !is_own || permissions & FILL == FILL {
        return Ok(None);
    }
    set_permissions(directory, permissions | FILL)?;
    Ok(Some(permissions))
}

/// Sets the permissions of an open directory, which may be open as a path only.
pub(super) fn set_permissions(directory: BorrowedFd<'_>, permissions: u32) -> Result<(), Errno> {
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    rustix::fs::chmod(path, Mode::from_raw_mode(permissions))
}
