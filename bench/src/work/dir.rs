//! Directory listing with `getdents64` and a 32 KiB buffer, like the C library.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;
use rustix::path::Arg;

/// A directory entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WorkEntry {
    /// Name of the entry.
    pub(crate) name: CString,
    /// Kind from the directory entry, or from the inode if the filesystem does not report one.
    pub(crate) kind: WorkEntryKind,
}

/// The kinds of entry that we distinguish.
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
    /// Converts from the file type of a mode.
    pub(crate) fn of(kind: FileType) -> Self {
        match kind {
            FileType::Directory => Self::Directory,
            FileType::RegularFile => Self::File,
            FileType::Symlink => Self::Symlink,
            _ => Self::Special,
        }
    }
}

/// Lists directories with a reusable buffer.
pub(crate) struct Lister(Vec<MaybeUninit<u8>>);

impl Lister {
    /// Buffer size of the C library's `readdir`, in bytes.
    const ROOM: usize = 32 << 10;

    /// Allocates the buffer.
    pub(crate) fn new() -> Self {
        Self(vec![MaybeUninit::uninit(); Self::ROOM])
    }

    /// The entries of a directory in kernel order, without `.` and `..`.
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

/// Opens a subdirectory; fails on symlinks and other kinds of entry.
pub(crate) fn open_dir(parent: impl AsFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty())
}

/// Opens the root directory of a walk; its path may contain symlinks.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fs::open(path, flags, Mode::empty())
}
