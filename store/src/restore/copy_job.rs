//! A restore as plain files.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use super::availability::check_usable;
use super::found_stack::FoundStack;
use super::rollback::{clear_directory, is_empty_directory};
use crate::copy::{CopyOptions, CopyReport, check_room, copy_into};
use crate::error::{Error, Result};
use crate::local::FrameReader;
use crate::progress::Progress;
use crate::session::Session;
use crate::stack::{Owner, Stack};

/// A tree with more entries is not counted before it is copied, because that takes seconds.
const COUNTED: u64 = 1 << 19;

/// Options of a copy.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// The owner of all files; `None` for the saved owners.
    pub owner: Option<Owner>,
    /// Whether devices, setuid bits and file capabilities are created, too.
    pub privileged: bool,
    /// How files are written.
    pub options: CopyOptions,
}

/// A stack that is ready to be copied: the remote has all of it, as far as is known.
pub struct CopyJob<'a> {
    session: &'a Session,
    stack: Stack,
    reader: FrameReader,
    options: CopyOptions,
}

impl Session {
    /// Opens a found stack to copy it, and completes its totals. The inner error names the part
    /// that the remote lost; then the restore is a miss.
    ///
    /// # Errors
    /// Those of opening the layers, except for lost ones.
    pub fn copy(
        &self,
        found: &mut FoundStack,
        request: CopyRequest,
    ) -> Result<Result<CopyJob<'_>, String>> {
        let opened = self.open_stack(&found.layers);
        let usable = check_usable(self.layers(), self.remote(), &found.layers, opened);
        let stack = match self.block_on(usable)? {
            Ok(stack) => stack,
            Err(lost) => return Ok(Err(lost)),
        };
        if found.tree.is_none() {
            found.tree = stack.totals(COUNTED)?;
        }
        let reader = self.frame_reader(&stack)?;
        let mut stack = stack.shown_as(request.owner);
        if !request.privileged {
            stack = stack.without_privileges();
        }
        Ok(Ok(CopyJob {
            session: self,
            stack,
            reader,
            options: request.options,
        }))
    }
}

impl CopyJob<'_> {
    /// The tree, as it will be written.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Fails if the disk has no room for the copy even after `freed` bytes below the target are
    /// removed.
    ///
    /// # Errors
    /// An I/O error of kind `StorageFull`, and those of reading the stack and the directory.
    pub fn check_room(&self, target: &Path, freed: u64, progress: &dyn Progress) -> Result<()> {
        check_room(&self.stack, target, freed, progress)
    }

    /// Writes the tree. Entries that could not be created are in the report.
    ///
    /// # Errors
    /// Those of [`copy_into`].
    #[tracing::instrument(level = "error", name = "copy", skip_all, fields(path = %target.path.display()))]
    pub fn run(&self, target: &CopyTarget, progress: &dyn Progress) -> Result<CopyReport> {
        let path = &target.path;
        let directory = target
            .directory
            .try_clone()
            .map_err(Error::io("open", path))?;
        copy_into(
            &self.stack,
            &self.reader,
            self.session.handle(),
            (directory, path),
            &self.options,
            progress,
        )
    }
}

/// The directory that a copy is written to. It is held open, so that files are written and removed
/// there wherever its path leads by then.
#[derive(Debug)]
pub struct CopyTarget {
    directory: OwnedFd,
    path: PathBuf,
    started_empty: bool,
}

impl CopyTarget {
    /// Uses a directory that is open for reading; `path` is its path, for messages.
    pub fn new(directory: OwnedFd, path: &Path) -> Self {
        let mut target = Self {
            directory,
            path: path.to_owned(),
            started_empty: false,
        };
        target.started_empty = is_empty_directory(&target.place());
        target
    }

    /// The path of the opened directory itself.
    fn place(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.directory.as_raw_fd()))
    }

    /// Whether the directory was empty before the copy.
    pub fn started_empty(&self) -> bool {
        self.started_empty
    }

    /// Removes everything again if the directory was empty before the copy: a build would take half
    /// of a cache for the whole. Returns whether it was empty.
    pub fn roll_back(&self) -> bool {
        if self.started_empty {
            clear_directory(&self.place());
        }
        self.started_empty
    }
}
