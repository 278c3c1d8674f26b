//! Attributes in the form in which the kernel wants them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cachefs_store::layer::{Timestamp, mode};
use cachefs_store::stack::Attr;
use fuser::{FileAttr, FileType, INodeNo};

pub(super) fn file_type(mode_bits: u32) -> FileType {
    match mode_bits & mode::TYPE {
        mode::DIRECTORY => FileType::Directory,
        mode::SYMLINK => FileType::Symlink,
        mode::CHARACTER => FileType::CharDevice,
        mode::BLOCK => FileType::BlockDevice,
        mode::FIFO => FileType::NamedPipe,
        mode::SOCKET => FileType::Socket,
        _ => FileType::RegularFile,
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let nanos = Duration::from_nanos(u64::from(time.nanos));
    let whole = if time.seconds < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    };
    whole
        .and_then(|whole| whole.checked_add(nanos))
        .unwrap_or(UNIX_EPOCH)
}

pub(super) fn file_attr(attr: &Attr, ino: INodeNo) -> FileAttr {
    let time = system_time(attr.mtime);
    FileAttr {
        ino,
        size: attr.size,
        blocks: attr.blocks,
        // Layers keep one time; the others have no meaning after a restore.
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: file_type(attr.mode),
        perm: (attr.mode & 0o7777) as u16,
        nlink: attr.links,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev as u32,
        blksize: 4096,
        flags: 0,
    }
}
