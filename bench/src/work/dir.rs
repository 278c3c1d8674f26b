//! Directories, listed as the C library does it: by `getdents64` with 32 KiB of room.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;
use rustix::path::Arg;

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WorkEntry {
    /// Its name.
    pub(crate) name: CString,
    /// Its kind as the directory tells it, which may be [`FileType::Unknown`].
    pub(crate) kind: WorkEntryKind,
}

/// The kinds of entry that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WorkEntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A fifo, socket or device.
    Special,
}

impl WorkEntryKind {
    /// The kind in a mode.
    pub(crate) fn of(kind: FileType) -> Self {
        match kind {
            FileType::Directory => Self::Directory,
            FileType::RegularFile => Self::File,
            FileType::Symlink => Self::Symlink,
            _ => Self::Special,
        }
    }
}

/// Lists directories with one buffer for all.
pub(crate) struct Lister(Vec<MaybeUninit<u8>>);

impl Lister {
    /// As much room as the C library gives.
    const ROOM: usize = 32 << 10;

    /// Makes the buffer.
    pub(crate) fn new() -> Self {
        Self(vec![MaybeUninit::uninit(); Self::ROOM])
    }

    /// The entries of a directory in its own order, without `.` and `..`.
    pub(crate) fn list(&mut self, dir: impl AsFd) -> io::Result<Vec<WorkEntry>> {
        let mut raw = RawDir::new(dir.as_fd(), &mut self.0);
        let mut entries = Vec::new();
        let mut unknown = Vec::new();
        while let Some(entry) = raw.next() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if entry.file_type() == FileType::Unknown {
                unknown.push(entries.len());
            }
            entries.push(WorkEntry {
                name: name.to_owned(),
                kind: WorkEntryKind::of(entry.file_type()),
            });
        }
        for at in unknown {
            let entry: &mut WorkEntry = &mut entries[at];
            let stat = fs::statat(&dir, &entry.name, AtFlags::SYMLINK_NOFOLLOW)?;
            entry.kind = WorkEntryKind::of(FileType::from_raw_mode(stat.st_mode));
        }
        Ok(entries)
    }
}

/// Opens a directory below another, and nothing that is not one.
pub(crate) fn open_dir(parent: impl AsFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty())
}

/// Opens the directory at which a piece of work starts; its path may have links in it.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fs::open(path, flags, Mode::empty())
}
