//! Making directories from the top down, and finishing them from the bottom up.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::Copy;
use super::attributes::Handle;
use super::destination::{OpenDirectories, State};
use super::report::IssueKind::{AttributeLost, NotCreated};
use crate::beneath::open_beneath;
use crate::error::Result;
use crate::layer::mode;

/// What the owner needs to fill a directory.
const FILL: u32 = 0o700;
/// New entries get the directory's group.
const SET_GID: u32 = 0o2000;

const OPEN_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Copy<'_> {
    /// Makes all directories.
    pub(super) fn make_directories(&self) -> Result<()> {
        let root = self.destination.root.as_fd();
        self.destination.set_state(0, self.found(root)?);
        for level in &self.plan.levels {
            self.each(level.clone(), |number, open| {
                self.make_directory(number, open)
            })?;
            self.progress.done(level.len() as u64, 0);
        }
        Ok(())
    }

    /// What a directory that was there before means for its new entries.
    fn found(&self, directory: BorrowedFd<'_>) -> Result<State> {
        let stat = rustix::fs::fstat(directory).map_err(|errno| {
            crate::error::Error::io("read", self.plan.path(&self.plan.directories[0].at))(
                errno.into(),
            )
        })?;
        let inherits = self.clear_acls(directory) || stat.st_mode & SET_GID != 0;
        Ok(State::Found { inherits })
    }

    fn make_directory(&self, number: usize, open: &mut OpenDirectories<'_>) -> Result<()> {
        let directory = &self.plan.directories[number];
        let path = || self.plan.path(&directory.at);
        let above = self.destination.state(directory.at.directory);
        if above == State::Absent {
            self.reporter
                .issue(NotCreated, &path(), "its directory is not there".to_owned());
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
                    rustix::fs::openat(parent, name, OPEN_FLAGS, Mode::empty()).map(Some)
                }
                Err(errno) => Err(errno),
            }
        });
        let state = match made {
            Ok(None) => match above {
                State::Found { inherits: true } => above,
                _ => State::New,
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
            State::Absent => return Ok(()),
            State::New => self
                .destination
                .created_mode(directory.at.directory, attr.mode & 0o777 | FILL),
            State::Found { .. } => None,
        };
        let root = self.destination.root.as_fd();
        if number == 0 {
            return self.set_attributes(Handle::Open(root), &attr, None, || path.clone());
        }
        match open_beneath(root, &path, OPEN_FLAGS, Mode::empty()) {
            Ok(fd) => {
                self.set_attributes(Handle::Open(fd.as_fd()), &attr, created, || path.clone())
            }
            Err(errno) => self
                .reporter
                .failed(AttributeLost, &path, "open the directory", errno),
        }
    }
}
