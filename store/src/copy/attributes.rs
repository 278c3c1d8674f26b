//! Giving entries the attributes they were saved with.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use super::context::CopyContext;
use super::report::IssueKind::AttributeLost;
use crate::error::Result;
use crate::layer::{Xattrs, mode};
use crate::stack::Attr;

/// The access ACL.
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// The ACL that new entries of a directory inherit.
pub(super) const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// Setuid and setgid.
const SET_IDS: u32 = 0o6000;

/// The system calls that reach an entry: by its descriptor, or by its name where opening it has
/// effects or is impossible.
#[derive(Clone, Copy)]
pub(super) enum AttributeTarget<'a> {
    /// A file or directory that is open.
    Open(BorrowedFd<'a>),
    /// A symbolic link or special file: its directory and its name there.
    Name(BorrowedFd<'a>, &'a [u8]),
}

impl AttributeTarget<'_> {
    /// A path for calls that take neither a descriptor nor a directory and a name.
    fn proc_path(self) -> Vec<u8> {
        match self {
            Self::Open(fd) => format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes(),
            Self::Name(parent, name) => {
                let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
                path.extend_from_slice(name);
                path
            }
        }
    }

    fn chown(self, uid: u32, gid: u32) -> Result<(), Errno> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match self {
            Self::Open(fd) => rustix::fs::fchown(fd, uid, gid),
            Self::Name(parent, name) => {
                rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }

    fn chmod(self, mode: u32) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode);
        match self {
            Self::Open(fd) => rustix::fs::fchmod(fd, mode),
            Self::Name(parent, name) => {
                // The name could be replaced by a link at any time, so open its present file.
                let flags = rustix::fs::OFlags::PATH
                    | rustix::fs::OFlags::NOFOLLOW
                    | rustix::fs::OFlags::CLOEXEC;
                let held = rustix::fs::openat(parent, name, flags, Mode::empty())?;
                let path = format!("/proc/self/fd/{}", held.as_raw_fd());
                rustix::fs::chmod(path, mode)
            }
        }
    }

    fn set_xattr(self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Name(..) => {
                rustix::fs::lsetxattr(self.proc_path(), name, value, XattrFlags::empty())
            }
        }
    }

    fn set_times(self, times: &Timestamps) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => rustix::fs::futimens(fd, times),
            Self::Name(parent, name) => {
                rustix::fs::utimensat(parent, name, times, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }
}

impl CopyContext<'_> {
    /// Gives an entry its owner, extended attributes, mode and time, in the order in which none
    /// undoes another. `created_mode` is the mode it has now, when it is known and when it also is
    /// known to have no ACL and to belong to this process.
    pub(super) fn set_attributes(
        &self,
        handle: AttributeTarget<'_>,
        attr: &Attr,
        created_mode: Option<u32>,
        path: impl Fn() -> PathBuf,
    ) -> Result<()> {
        let lost = |action, errno| self.reporter.failed(AttributeLost, &path(), action, errno);
        let mut wanted = attr.mode & 0o7777;
        let mut is_exact = created_mode == Some(wanted);
        let own = (attr.uid, attr.gid) == (self.destination.uid, self.destination.gid);
        let mut owned = own;
        if self.destination.owners && !(own && created_mode.is_some()) {
            match handle.chown(attr.uid, attr.gid) {
                Ok(()) => {
                    owned = true;
                    // A change of owner clears setuid and setgid.
                    is_exact &= wanted & SET_IDS == 0;
                }
                Err(errno) => lost("set the owner", errno)?,
            }
        }
        let lends = attr.kind() != mode::DIRECTORY && wanted & SET_IDS != 0;
        if lends && !(owned && self.shows_saved_owner(attr)?) {
            // They would lend this user's rights where another's were meant.
            wanted &= !SET_IDS;
            is_exact = created_mode == Some(wanted);
            let detail = "skipped setuid and setgid because the owner is not restored";
            self.reporter
                .issue(AttributeLost, &path(), detail.to_owned());
        }
        if self.stack.has_xattrs() {
            let xattrs = self.stack.xattrs(attr.ino)?;
            is_exact &= xattrs.is_empty();
            self.set_xattrs(handle, &xattrs, &path)?;
        }
        if attr.kind() != mode::SYMLINK
            && !is_exact
            && let Err(errno) = handle.chmod(wanted)
        {
            lost("set the mode", errno)?;
        }
        let keep = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        };
        let mtime = Timespec {
            tv_sec: attr.mtime.seconds,
            tv_nsec: attr.mtime.nanos.into(),
        };
        let times = Timestamps {
            last_access: keep,
            last_modification: mtime,
        };
        handle
            .set_times(&times)
            .or_else(|errno| lost("set the modification time", errno))
    }

    /// Whether an entry belongs to the one it was saved from.
    fn shows_saved_owner(&self, attr: &Attr) -> Result<bool> {
        if self.stack.owner().is_none() {
            return Ok(true);
        }
        let saved = self.stack.meta(attr.ino)?;
        Ok((saved.uid, saved.gid) == (attr.uid, attr.gid))
    }

    fn set_xattrs(
        &self,
        handle: AttributeTarget<'_>,
        xattrs: &Xattrs,
        path: &impl Fn() -> PathBuf,
    ) -> Result<()> {
        for (name, value) in xattrs.iter() {
            if let Err(errno) = handle.set_xattr(name, value) {
                if errno == Errno::NOSPC {
                    // Filesystems with limited space for attributes also return this.
                    let detail = "no room for its extended attributes".to_owned();
                    self.reporter.issue(AttributeLost, &path(), detail);
                } else {
                    let path = path();
                    self.reporter.failed(
                        AttributeLost,
                        &path,
                        "set an extended attribute",
                        errno,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Takes ACLs off a directory that was there before; says whether entries may still inherit.
    pub(super) fn clear_acls(&self, directory: BorrowedFd<'_>) -> bool {
        let gone = |outcome| matches!(outcome, Ok(()) | Err(Errno::NODATA | Errno::NOTSUP));
        // The access ACL matters to nobody but the directory; if it stays, its mode shows it.
        let _ = rustix::fs::fremovexattr(directory, ACL_ACCESS);
        !gone(rustix::fs::fremovexattr(directory, ACL_DEFAULT))
    }
}
