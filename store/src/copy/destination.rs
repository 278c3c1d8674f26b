//! The directory that is written to, and ways into its subdirectories.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::plan::{CopyPlan, DirectoryNumber};
use crate::resolve_beneath::open_beneath;

/// Largest number of directories that a thread keeps open.
const OPEN: usize = 64;
/// The directories of one thread take at most this part of the descriptors that the process may have:
/// other threads, files and connections need some, too.
const SHARE: u64 = 16;

/// Known facts about a directory at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DirectoryState {
    /// It could not be made, or not yet.
    Absent,
    /// This copy created it, and new entries get the requested mode and owner.
    New,
    /// It existed before, or new entries may inherit an ACL or a group.
    Found {
        /// Whether entries inherit.
        inherits: bool,
    },
}

/// The target directory of a copy.
pub(super) struct Destination<'a> {
    pub(super) root: OwnedFd,
    pub(super) plan: &'a CopyPlan,
    states: Vec<AtomicU8>,
    /// Mode bits that the kernel removes from new entries; `None` if unknown.
    umask: Option<u32>,
    pub(super) owners: bool,
    /// The number of directories that a thread may keep open.
    open: usize,
    /// Owner of the entries that this process creates.
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl<'a> Destination<'a> {
    pub(super) fn new(root: OwnedFd, plan: &'a CopyPlan, owners: bool) -> Self {
        Self {
            root,
            plan,
            states: plan.directories.iter().map(|_| AtomicU8::new(0)).collect(),
            umask: read_umask(),
            owners,
            open: may_keep_open(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    pub(super) fn state(&self, directory: DirectoryNumber) -> DirectoryState {
        match self.states[directory as usize].load(Relaxed) {
            0 => DirectoryState::Absent,
            1 => DirectoryState::New,
            2 => DirectoryState::Found { inherits: false },
            _ => DirectoryState::Found { inherits: true },
        }
    }

    pub(super) fn set_state(&self, directory: usize, state: DirectoryState) {
        let state = match state {
            DirectoryState::Absent => 0,
            DirectoryState::New => 1,
            DirectoryState::Found { inherits: false } => 2,
            DirectoryState::Found { inherits: true } => 3,
        };
        self.states[directory].store(state, Relaxed);
    }

    /// The mode of an entry that this process created with `requested` in `directory`; `None` if
    /// unknown.
    pub(super) fn created_mode(&self, directory: DirectoryNumber, requested: u32) -> Option<u32> {
        match self.state(directory) {
            DirectoryState::New | DirectoryState::Found { inherits: false } => {
                Some(requested & !self.umask?)
            }
            DirectoryState::Absent | DirectoryState::Found { inherits: true } => None,
        }
    }
}

fn may_keep_open() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let share = limit.map_or(u64::MAX, |limit| limit / SHARE);
    usize::try_from(share).map_or(OPEN, |share| share.clamp(1, OPEN))
}

/// Reads the process's umask without changing it, which would affect other threads.
fn read_umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let umask = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(umask.trim(), 8).ok()
}

/// Directories that one thread has open.
pub(super) struct OpenDirectories<'a> {
    destination: &'a Destination<'a>,
    open: HashMap<DirectoryNumber, OwnedFd>,
}

impl<'a> OpenDirectories<'a> {
    pub(super) fn new(destination: &'a Destination<'a>) -> Self {
        Self {
            destination,
            open: HashMap::with_capacity(OPEN),
        }
    }

    /// A descriptor of a directory, for calls that take names in it.
    pub(super) fn get(&mut self, directory: DirectoryNumber) -> Result<BorrowedFd<'_>, Errno> {
        if directory == 0 {
            return Ok(self.destination.root.as_fd());
        }
        if self.open.contains_key(&directory) {
            return Ok(self.open[&directory].as_fd());
        }
        let plan = self.destination.plan;
        let at = &plan.directories[directory as usize].at;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match self.open.get(&at.directory) {
            Some(parent) => rustix::fs::openat(parent, &*at.name, flags, Mode::empty())?,
            None => open_beneath(
                self.destination.root.as_fd(),
                &plan.path(at),
                flags,
                Mode::empty(),
            )?,
        };
        if self.open.len() >= self.destination.open {
            self.open.clear();
        }
        Ok(&*self.open.entry(directory).or_insert(opened)).map(|fd| fd.as_fd())
    }
}

/// Creates an entry; one that is in the way is removed first, unless it is a directory with
/// entries.
pub(super) fn create_replacing<T>(
    parent: BorrowedFd<'_>,
    name: &[u8],
    create: impl Fn() -> Result<T, Errno>,
) -> Result<T, Errno> {
    match create() {
        Err(Errno::EXIST) => {
            remove_entry(parent, name)?;
            create()
        }
        outcome => outcome,
    }
}

fn remove_entry(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR),
        outcome => outcome,
    }
}
