//! Individual changes that a sync makes to a directory.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chmodat, chownat,
    fchmod, fchown, futimens, mkdirat, openat, renameat, symlinkat, unlinkat, utimensat,
};

use crate::work::dir::{Lister, WorkEntryKind, open_dir};

/// Temporary name of a file while it is written.
const PART: &CStr = c".cachefs-bench-part";
/// Bytes compared at a time.
const BLOCK: usize = 128 << 10;

/// Whether two files with the same name and size have the same content.
pub(super) fn same_content(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
) -> io::Result<bool> {
    let (mut from, mut to) = (open_new(from, name)?, open_new(to, name)?);
    let mut blocks = (vec![0; BLOCK], vec![0; BLOCK]);
    loop {
        let length = read_block(&mut from, &mut blocks.0)?;
        if read_block(&mut to, &mut blocks.1)? != length || blocks.0[..length] != blocks.1[..length]
        {
            return Ok(false);
        }
        if length < BLOCK {
            return Ok(true);
        }
    }
}

/// Fills the block, or stops at the end of the file.
fn read_block(file: &mut File, block: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < block.len() {
        match file.read(&mut block[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

fn open_new(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(dir, name, flags, Mode::empty())?.into())
}

/// Writes a file under a temporary name and renames it over the old one.
pub(super) fn write_file(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    source: &Stat,
) -> io::Result<()> {
    let mut content = open_new(from, name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut part: File = openat(to, PART, flags, Mode::RUSR | Mode::WUSR)?.into();
    let written = io::copy(&mut content, &mut part).and_then(|_| {
        fchown(&part, Some(stat_owner(source)), Some(stat_group(source)))?;
        // After the owner, because `chown` clears the setuid bit.
        fchmod(&part, stat_mode(source))?;
        futimens(&part, &stat_times(source))?;
        Ok(renameat(to, PART, to, name)?)
    });
    if written.is_err() {
        // Ignore this result; the first error is the relevant one.
        let _ = unlinkat(to, PART, AtFlags::empty());
    }
    written
}

/// Creates a symbolic link.
pub(super) fn write_symlink(
    to: BorrowedFd<'_>,
    name: &CStr,
    goal: &CStr,
    source: &Stat,
) -> io::Result<()> {
    symlinkat(goal, to, name)?;
    let (user, group) = (stat_owner(source), stat_group(source));
    chownat(to, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(utimensat(
        to,
        name,
        &stat_times(source),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// Creates a directory with write permission, so that entries can be added.
pub(super) fn make_directory(to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    Ok(mkdirat(to, name, Mode::RWXU)?)
}

/// Copies owner and mode of the source to a file, link or directory.
pub(super) fn copy_attributes(to: BorrowedFd<'_>, name: &CStr, source: &Stat) -> io::Result<()> {
    let (user, group) = (stat_owner(source), stat_group(source));
    chownat(to, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(source.st_mode) != FileType::Symlink {
        chmodat(to, name, stat_mode(source), AtFlags::empty())?;
    }
    Ok(())
}

/// Copies the times of the source to a directory.
pub(super) fn set_directory_times(dir: BorrowedFd<'_>, source: &Stat) -> io::Result<()> {
    Ok(futimens(dir, &stat_times(source))?)
}

/// Removes an entry and everything below it.
pub(super) fn remove_entry(
    lister: &mut Lister,
    dir: BorrowedFd<'_>,
    name: &CStr,
    kind: WorkEntryKind,
) -> io::Result<()> {
    if kind != WorkEntryKind::Directory {
        return Ok(unlinkat(dir, name, AtFlags::empty())?);
    }
    let below = open_dir(dir, name)?;
    for entry in lister.list(&below)? {
        remove_entry(lister, below.as_fd(), &entry.name, entry.kind)?;
    }
    Ok(unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

fn stat_owner(stat: &Stat) -> Uid {
    Uid::from_raw(stat.st_uid)
}

fn stat_group(stat: &Stat) -> Gid {
    Gid::from_raw(stat.st_gid)
}

fn stat_mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode)
}

fn stat_times(stat: &Stat) -> Timestamps {
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        // At most 999,999,999, so the cast cannot overflow.
        tv_nsec: nanoseconds.cast_signed(),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
