//! Removes unchanged files of an earlier copy.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::writable::make_writable;
use crate::error::{Error, Result};
use crate::layer::mode;
use crate::resolve_beneath::{open_beneath, open_real_directory};
use crate::stack::{Attr, Stack, StackWalk};

/// Result of [`remove_unchanged`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// Number of entries that were removed.
    pub entries: u64,
    /// An entry that is unchanged and could not be removed, with the reason.
    pub failed: Option<(PathBuf, Errno)>,
}

/// Removes the entries of `stack` below `target` that nobody changed since they were copied there, as
/// git removes the files of the old branch when it switches to another one. Entries that `keep` has,
/// too, stay.
///
/// A file counts as unchanged if its type, size and modification time are those of the stack, a
/// symbolic link if its target is, and a directory if it is empty in the end. Links are not followed,
/// neither below `target` nor on the way to it: it is the absolute path of a directory, without links.
///
/// # Errors
///
/// When the stack is damaged, or `target` cannot be opened.
pub fn remove_unchanged(stack: &Stack, keep: Option<&Stack>, target: &Path) -> Result<Removed> {
    let root = open_real_directory(target, OFlags::RDONLY)
        .map_err(|errno| Error::io("open directory", target)(errno.into()))?;
    let mut removed = Removed::default();
    let mut directories = Vec::new();
    let mut parent = Parent {
        root: root.as_fd(),
        open: None,
    };
    for entry in StackWalk::new(stack) {
        let entry = entry?;
        if entry.path.is_empty() || is_kept(keep, &entry.path, &entry.attr)? {
            continue;
        }
        if entry.attr.kind() == mode::DIRECTORY {
            directories.push(entry.path);
            continue;
        }
        let (directory, name) = split_path(&entry.path);
        let outcome = parent.get(directory).and_then(|directory| {
            match is_unchanged(directory, name, stack, &entry.attr)? {
                true => unlink_entry(directory, name, AtFlags::empty()).map(|()| true),
                false => Ok(false),
            }
        });
        removed.note(&entry.path, outcome);
    }
    for path in directories.iter().rev() {
        let (directory, name) = split_path(path);
        let outcome = parent
            .get(directory)
            .and_then(|directory| unlink_entry(directory, name, AtFlags::REMOVEDIR))
            .map(|()| true);
        removed.note(path, outcome);
    }
    Ok(removed)
}

impl Removed {
    fn note(&mut self, path: &[u8], outcome: Result<bool, Errno>) {
        match outcome {
            Ok(removed) => self.entries += u64::from(removed),
            // It is gone, or it is another file.
            Err(
                Errno::NOENT
                | Errno::NOTDIR
                | Errno::LOOP
                | Errno::NOTEMPTY
                | Errno::EXIST
                | Errno::ISDIR,
            ) => {}
            Err(errno) => {
                let path = PathBuf::from(OsStr::from_bytes(path));
                self.failed.get_or_insert((path, errno));
            }
        }
    }
}

/// The directory of the last entry, which mostly is that of the next one, too.
struct Parent<'a> {
    root: BorrowedFd<'a>,
    open: Option<(Vec<u8>, OwnedFd)>,
}

impl Parent<'_> {
    fn get(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, Errno> {
        let opened = match self.open.take() {
            Some((known, opened)) if known == path => opened,
            _ => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                let path = Path::new(OsStr::from_bytes(path));
                open_beneath(self.root, path, flags, Mode::empty())?
            }
        };
        Ok(self.open.insert((path.to_vec(), opened)).1.as_fd())
    }
}

fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn is_kept(keep: Option<&Stack>, path: &[u8], attr: &Attr) -> Result<bool> {
    let Some(keep) = keep else { return Ok(false) };
    Ok(match keep.find(path)? {
        Some(ino) => keep.attr(ino)?.kind() == attr.kind(),
        None => false,
    })
}

fn is_unchanged(
    directory: BorrowedFd<'_>,
    name: &[u8],
    stack: &Stack,
    attr: &Attr,
) -> Result<bool, Errno> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if stat.st_mode & mode::TYPE != attr.kind() {
        return Ok(false);
    }
    Ok(match attr.kind() {
        mode::SYMLINK => {
            let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
            stack
                .symlink_target(attr.ino)
                .is_ok_and(|copied| copied == target.as_bytes())
        }
        _ => {
            let mtime = (stat.st_mtime, stat.st_mtime_nsec as u32);
            stat.st_size as u64 == attr.size && mtime == (attr.mtime.seconds, attr.mtime.nanos)
        }
    })
}

fn unlink_entry(directory: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<(), Errno> {
    match rustix::fs::unlinkat(directory, name, flags) {
        Err(Errno::ACCESS) if make_writable(directory, b"")?.is_some() => {
            rustix::fs::unlinkat(directory, name, flags)
        }
        outcome => outcome,
    }
}
