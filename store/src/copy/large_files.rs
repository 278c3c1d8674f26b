//! Writing large files, each by several threads at the same time.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::context::CopyContext;
use super::destination::OpenDirectories;
use super::file_content::{self, FrameCursor};
use super::large_file_table::LargeFileState;
use super::plan::{CopyPiece, Leaf};
use super::report::IssueKind::NotCreated;
use crate::error::Result;
use crate::stack::Attr;

impl CopyContext<'_> {
    /// Removes the large files that have only some of their bytes, after a failure.
    pub(super) fn remove_unfinished(&self) {
        let mut open = OpenDirectories::new(&self.destination);
        for leaf in self.large.unfinished() {
            let at = &self.plan.leaves[leaf].at;
            if let Ok(parent) = open.get(at.directory) {
                // The failure that led here is the one to report.
                let _ = rustix::fs::unlinkat(parent, &*at.name, AtFlags::empty());
            }
        }
    }

    /// Gives a new file its length at once: the parts with data may end before it does.
    fn extend(
        &self,
        leaf: &Leaf,
        file: OwnedFd,
        open: &mut OpenDirectories<'_>,
    ) -> Result<OwnedFd, Errno> {
        rustix::fs::ftruncate(&file, leaf.size)
            .map(|()| file)
            .inspect_err(|_| {
                if let Ok(parent) = open.get(leaf.at.directory) {
                    // The failure to report is the other one.
                    let _ = rustix::fs::unlinkat(parent, &*leaf.at.name, AtFlags::empty());
                }
            })
    }

    /// Writes one part of a large file; the first creates it and the last finishes it.
    pub(super) fn write_large(
        &self,
        part: &CopyPiece,
        attr: &Attr,
        open: &mut OpenDirectories<'_>,
        frames: &mut FrameCursor<'_>,
    ) -> Result<()> {
        let leaf = &self.plan.leaves[part.leaf];
        let Some((parts, state)) = self.large.get(part.leaf) else {
            return Ok(());
        };
        let file = {
            let mut state = state.lock();
            match &*state {
                LargeFileState::Open(file, _) => file.clone(),
                LargeFileState::Done | LargeFileState::Failed => return Ok(()),
                LargeFileState::Untouched => {
                    let created = open
                        .get(leaf.at.directory)
                        .and_then(|parent| self.create_file(leaf, attr, parent))
                        .and_then(|file| self.extend(leaf, file, open));
                    match created {
                        Ok(file) => {
                            let file = Arc::new(file);
                            *state = LargeFileState::Open(file.clone(), parts);
                            file
                        }
                        Err(errno) => {
                            *state = LargeFileState::Failed;
                            let path = self.plan.path(&leaf.at);
                            return self.reporter.failed(
                                NotCreated,
                                &path,
                                "create the file",
                                errno,
                            );
                        }
                    }
                }
            }
        };
        let go_on = || self.check_cancelled();
        let which = (leaf.ino, leaf.size);
        let range = part.range.clone();
        if let Err(error) =
            file_content::write_content(file.as_fd(), self.stack, which, range, frames, go_on)
        {
            // When this ends the copy, the state says that the file is to be removed.
            self.content_failed(leaf, error)?;
            if let LargeFileState::Open(..) =
                std::mem::replace(&mut *state.lock(), LargeFileState::Failed)
                && let Ok(parent) = open.get(leaf.at.directory)
            {
                let _ = rustix::fs::unlinkat(parent, &*leaf.at.name, AtFlags::empty());
            }
            return Ok(());
        }
        let mut state = state.lock();
        if let LargeFileState::Open(_, left) = &mut *state {
            *left -= 1;
            if *left == 0 {
                *state = LargeFileState::Done;
                drop(state);
                return self.finish_file(leaf, attr, file.as_fd());
            }
        }
        Ok(())
    }
}
