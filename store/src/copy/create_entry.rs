//! Creating everything that is not a directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::AttributeTarget;
use super::context::CopyContext;
use super::destination::{DirectoryState, OpenDirectories, create_replacing};
use super::file_content::{self, ContentError, FrameCursor};
use super::plan::{CopyPiece, LARGE, Leaf, PlannedName};
use super::report::IssueKind::NotCreated;
use crate::error::Result;
use crate::layer::mode;
use crate::stack::Attr;

impl CopyContext<'_> {
    /// Creates a leaf, or writes a part of a large one.
    pub(super) fn write_part(
        &self,
        part: &CopyPiece,
        open: &mut OpenDirectories<'_>,
        frames: &mut FrameCursor<'_>,
    ) -> Result<()> {
        let leaf = &self.plan.leaves[part.leaf];
        if !self.has_directory(&leaf.at) {
            if part.is_first {
                self.no_directory(&leaf.at);
            }
            return Ok(());
        }
        let attr = self.stack.attr(leaf.ino)?;
        if leaf.size > LARGE {
            return self.write_large(part, &attr, open, frames);
        }
        let parent = match open.get(leaf.at.directory) {
            Ok(parent) => parent,
            Err(errno) => return self.not_created(&leaf.at, "open its directory", errno),
        };
        match attr.kind() {
            mode::FILE => self.write_file(leaf, &attr, parent, frames),
            mode::SYMLINK => {
                let target = self.stack.symlink_target(leaf.ino)?;
                let name = &*leaf.at.name;
                let make = || rustix::fs::symlinkat(target, parent, name);
                self.make_other(leaf, &attr, parent, None, "create the symbolic link", make)
            }
            _ => {
                let kind = FileType::from_raw_mode(attr.mode);
                let requested = attr.mode & 0o777;
                let (name, bits) = (&*leaf.at.name, Mode::from_raw_mode(requested));
                let make = || rustix::fs::mknodat(parent, name, kind, bits, attr.rdev);
                let created = self.destination.created_mode(leaf.at.directory, requested);
                self.make_other(
                    leaf,
                    &attr,
                    parent,
                    created,
                    "create the special file",
                    make,
                )
            }
        }
    }

    fn has_directory(&self, at: &PlannedName) -> bool {
        self.destination.state(at.directory) != DirectoryState::Absent
    }

    fn no_directory(&self, at: &PlannedName) {
        let detail = "its directory is missing".to_owned();
        self.reporter.issue(NotCreated, &self.plan.path(at), detail);
    }

    fn not_created(&self, at: &PlannedName, action: &'static str, errno: Errno) -> Result<()> {
        self.reporter
            .failed(NotCreated, &self.plan.path(at), action, errno)
    }

    /// Opens a new file at a leaf's name.
    pub(super) fn create_file(
        &self,
        leaf: &Leaf,
        attr: &Attr,
        parent: BorrowedFd<'_>,
    ) -> Result<OwnedFd, Errno> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (name, bits) = (&*leaf.at.name, Mode::from_raw_mode(attr.mode & 0o777));
        create_replacing(parent, name, || {
            rustix::fs::openat(parent, name, flags, bits)
        })
    }

    fn write_file(
        &self,
        leaf: &Leaf,
        attr: &Attr,
        parent: BorrowedFd<'_>,
        frames: &mut FrameCursor<'_>,
    ) -> Result<()> {
        let file = match self.create_file(leaf, attr, parent) {
            Ok(file) => file,
            Err(errno) => return self.not_created(&leaf.at, "create the file", errno),
        };
        let go_on = || self.check_cancelled();
        let written = match leaf.size {
            0 => Ok(()),
            size => file_content::write_content(
                file.as_fd(),
                self.stack,
                (leaf.ino, size),
                0..size,
                frames,
                go_on,
            ),
        };
        if let Err(error) = written {
            // The error is the one to report; a file that can't be removed is just left.
            let _ = rustix::fs::unlinkat(parent, &*leaf.at.name, AtFlags::empty());
            return self.content_failed(leaf, error);
        }
        self.finish_file(leaf, attr, file.as_fd())
    }

    /// Gives a file that is complete its attributes.
    pub(super) fn finish_file(&self, leaf: &Leaf, attr: &Attr, file: BorrowedFd<'_>) -> Result<()> {
        let created = self
            .destination
            .created_mode(leaf.at.directory, attr.mode & 0o777);
        self.set_attributes(AttributeTarget::Open(file), attr, created, || {
            self.plan.path(&leaf.at)
        })?;
        self.reporter.created(leaf.size);
        Ok(())
    }

    /// Content that can't be read is fatal: a file that is missing silently would be worse.
    pub(super) fn content_failed(&self, leaf: &Leaf, error: ContentError) -> Result<()> {
        match error {
            ContentError::Read(error) => Err(error),
            ContentError::Write(errno) => self.not_created(&leaf.at, "write", errno),
        }
    }

    fn make_other(
        &self,
        leaf: &Leaf,
        attr: &Attr,
        parent: BorrowedFd<'_>,
        created_mode: Option<u32>,
        action: &'static str,
        make: impl Fn() -> Result<(), Errno>,
    ) -> Result<()> {
        let name = &*leaf.at.name;
        if let Err(errno) = create_replacing(parent, name, make) {
            return self.not_created(&leaf.at, action, errno);
        }
        let handle = AttributeTarget::Name(parent, name);
        self.set_attributes(handle, attr, created_mode, || self.plan.path(&leaf.at))?;
        self.reporter.created(0);
        Ok(())
    }

    /// Gives a leaf another name.
    pub(super) fn link(&self, number: usize, open: &mut OpenDirectories<'_>) -> Result<()> {
        let link = &self.plan.links[number];
        let leaf = &self.plan.leaves[link.leaf];
        if !self.has_directory(&link.at) || !self.has_directory(&leaf.at) {
            self.no_directory(&link.at);
            return Ok(());
        }
        // A descriptor of its own: opening the second directory may close the first.
        let linked = open
            .get(leaf.at.directory)
            .and_then(rustix::io::dup)
            .and_then(|from| {
                let to = open.get(link.at.directory)?;
                let (old, new) = (&*leaf.at.name, &*link.at.name);
                create_replacing(to, new, || {
                    rustix::fs::linkat(&from, old, to, new, AtFlags::empty())
                })
            });
        if let Err(errno) = linked {
            return self.not_created(&link.at, "create the hard link", errno);
        }
        self.reporter.created(0);
        self.progress.done(1, 0);
        Ok(())
    }
}
