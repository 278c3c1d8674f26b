//! Making directories from the top down, and finishing them from the bottom up.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::AttributeTarget;
use super::context::CopyContext;
use super::destination::{DirectoryState, OpenDirectories};
use super::report::IssueKind::{AttributeLost, NotCreated};
use super::writable::{FILL, make_writable, set_permissions};
use crate::error::Result;
use crate::layer::mode;
use crate::resolve_beneath::open_beneath;

/// New entries get the directory's group.
const SET_GID: u32 = 0o2000;

const OPEN_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl CopyContext<'_> {
    /// Makes all directories.
    pub(super) fn make_directories(&self) -> Result<()> {
        let root = self.destination.root.as_fd();
        self.open_up(0, root, b"");
        self.destination.set_state(0, self.found(root)?);
        for level in &self.plan.levels {
            self.each(level.clone(), |number, open| {
                self.make_directory(number, open)
            })?;
            self.progress.done(level.len() as u64, 0);
        }
        Ok(())
    }

    /// Determines how an existing directory affects new entries.
    fn found(&self, directory: BorrowedFd<'_>) -> Result<DirectoryState> {
        let stat = rustix::fs::fstat(directory).map_err(|errno| {
            crate::error::Error::io("read", self.plan.path(&self.plan.directories[0].at))(
                errno.into(),
            )
        })?;
        let inherits = self.clear_acls(directory) || stat.st_mode & SET_GID != 0;
        Ok(DirectoryState::Found { inherits })
    }

    fn make_directory(&self, number: usize, open: &mut OpenDirectories<'_>) -> Result<()> {
        let directory = &self.plan.directories[number];
        let path = || self.plan.path(&directory.at);
        let above = self.destination.state(directory.at.directory);
        if above == DirectoryState::Absent {
            self.reporter
                .issue(NotCreated, &path(), "its directory is missing".to_owned());
            return Ok(());
        }
        let attr = self.stack.attr(directory.ino)?;
        let requested = Mode::from_raw_mode(attr.mode & 0o777 | FILL);
        let made = open.get(directory.at.directory).and_then(|parent| {
            let name = &*directory.at.name;
            let make = || rustix::fs::mkdirat(parent, name, requested);
            match make() {
                Ok(()) => Ok(None),
                Err(Errno::EXIST) => {
                    let there = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    if there.st_mode & mode::TYPE != mode::DIRECTORY {
                        rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
                        return make().map(|()| None);
                    }
                    self.open_up(number, parent, name);
                    rustix::fs::openat(parent, name, OPEN_FLAGS, Mode::empty()).map(Some)
                }
                Err(errno) => Err(errno),
            }
        });
        let state = match made {
            Ok(None) => match above {
                DirectoryState::Found { inherits: true } => above,
                _ => DirectoryState::New,
            },
            Ok(Some(found)) => self.found(found.as_fd())?,
            Err(errno) => {
                return self
                    .reporter
                    .failed(NotCreated, &path(), "create the directory", errno);
            }
        };
        self.destination.set_state(number, state);
        self.reporter.created(0);
        Ok(())
    }

    /// Makes an existing directory writable, if the user owns it. Failures are reported when an
    /// entry cannot be created.
    fn open_up(&self, number: usize, parent: BorrowedFd<'_>, name: &[u8]) {
        if let Ok(Some(permissions)) = make_writable(parent, name) {
            self.opened_up.lock().push((number, permissions));
        }
    }

    /// Gives directories that were made writable their permissions back, after a copy that failed.
    pub(super) fn restore_permissions(&self) {
        // Those in them first: a directory may lose the right to be entered.
        for (number, permissions) in self.opened_up.lock().drain(..).rev() {
            let path = self.plan.path(&self.plan.directories[number].at);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let opened = match number {
                0 => self.destination.root.try_clone().map_err(|_| Errno::BADF),
                _ => open_beneath(self.destination.root.as_fd(), &path, flags, Mode::empty()),
            };
            let restored =
                opened.and_then(|directory| set_permissions(directory.as_fd(), permissions));
            if let Err(errno) = restored {
                tracing::warn!("{} stays writable: {errno}", path.display());
            }
        }
    }

    /// Gives all directories their attributes, now that nothing is created in them any more.
    pub(super) fn finish_directories(&self) -> Result<()> {
        for level in self
            .plan
            .levels
            .iter()
            .rev()
            .cloned()
            .chain(std::iter::once(0..1))
        {
            self.each(level, |number, _| self.finish_directory(number))?;
        }
        Ok(())
    }

    fn finish_directory(&self, number: usize) -> Result<()> {
        let directory = &self.plan.directories[number];
        let path = self.plan.path(&directory.at);
        let attr = self.stack.attr(directory.ino)?;
        let created = match self.destination.state(number as u32) {
            DirectoryState::Absent => return Ok(()),
            DirectoryState::New => self
                .destination
                .created_mode(directory.at.directory, attr.mode & 0o777 | FILL),
            DirectoryState::Found { .. } => None,
        };
        let root = self.destination.root.as_fd();
        if number == 0 {
            return self.set_attributes(AttributeTarget::Open(root), &attr, None, || path.clone());
        }
        match open_beneath(root, &path, OPEN_FLAGS, Mode::empty()) {
            Ok(fd) => {
                self.set_attributes(AttributeTarget::Open(fd.as_fd()), &attr, created, || {
                    path.clone()
                })
            }
            Err(errno) => self
                .reporter
                .failed(AttributeLost, &path, "open the directory", errno),
        }
    }
}
