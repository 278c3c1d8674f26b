//! Folders that survive a power cut with the names in them.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, fsync, openat};
use rustix::io::Errno;

/// Waits until the names in a folder are on the disk.
///
/// Some filesystems cannot do that for folders (FUSE, 9p) or need no such call (NFS, where the
/// server answers when it is done), and a folder may be writable without being readable. There the
/// file's own sync has to do.
pub(super) fn sync_folder(folder: impl AsFd) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(folder, ".", flags, Mode::empty()).and_then(fsync) {
        Err(
            Errno::ACCESS
            | Errno::PERM
            | Errno::INVAL
            | Errno::NOSYS
            | Errno::OPNOTSUPP
            | Errno::BADF
            | Errno::ROFS,
        ) => Ok(()),
        synced => synced,
    }
}

/// Syncs the folders above `path` in which folders were created: those from `present`, the deepest
/// one that existed before.
pub(super) fn sync_parents(path: &Path, present: Option<&Path>) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for parent in path.ancestors().skip(1) {
        sync_folder(openat(CWD, parent, flags, Mode::empty())?)?;
        if Some(parent) == present {
            break;
        }
    }
    Ok(())
}
