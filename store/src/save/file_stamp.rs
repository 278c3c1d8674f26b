//! Attributes of a scanned file.

use rustix::fs::Stat;

use super::tree::Stamp;
use crate::layer::{Meta, Timestamp};

pub(super) fn meta_of(stat: &Stat) -> Meta {
    Meta {
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Timestamp {
            seconds: stat.st_mtime,
            nanos: stat.st_mtime_nsec as u32,
        },
        xattrs: Default::default(),
    }
}

/// The attributes that show whether a file was written to.
pub(super) fn stamp_of(stat: &Stat) -> Stamp {
    Stamp {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: stat.st_size as u64,
        changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
        modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
    }
}
