//! Whether the disk has room for a copy, found out before anything is written.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::AtFlags;

use super::plan::CopyPlan;
use crate::error::{Error, Result};
use crate::resolve_beneath::open_beneath;

/// Fails if the files of the plan have more bytes than the disk has free space.
///
/// A cache of some kilobytes may describe terabytes, because its files can all consist of the same
/// frame. A copy must not fill a shared disk before it fails.
///
/// `freed` is the approximate number of bytes that will be removed first.
pub(super) fn check_room(plan: &CopyPlan, root: &OwnedFd, target: &Path, freed: u64) -> Result<()> {
    let Ok(disk) = rustix::fs::fstatvfs(root) else {
        return Ok(());
    };
    if disk.f_blocks == 0 {
        // It does not count them, as ramfs.
        return Ok(());
    }
    let room = disk.f_bavail.saturating_mul(disk.f_frsize);
    let room = room.saturating_mul(compression(root));
    // Files that are replaced make room, which is looked at only when it matters.
    if plan.bytes <= room.saturating_add(freed)
        || plan.bytes <= room.saturating_add(count_replaced_bytes(plan, root))
    {
        return Ok(());
    }
    let detail = format!(
        "the cache has {} bytes, but only {room} are free",
        plan.bytes
    );
    let full = std::io::Error::new(std::io::ErrorKind::StorageFull, detail);
    Err(Error::io("copy the cache to", target)(full))
}

/// How many times its free space a disk may hold: filesystems that compress report free space before
/// compression. Only an expansion that no build has is refused there.
fn compression(root: &OwnedFd) -> u64 {
    const BCACHEFS: u64 = 0xca45_1a4e;
    const BTRFS: u64 = 0x9123_683e;
    const F2FS: u64 = 0xf2f5_2010;
    const ZFS: u64 = 0x2fc1_2fc1;
    let kind = rustix::fs::fstatfs(root).map_or(0, |disk| disk.f_type as u64 & 0xffff_ffff);
    match kind {
        BCACHEFS | BTRFS | F2FS | ZFS => 16,
        _ => 1,
    }
}

/// Bytes on the disk of the files that the plan replaces.
fn count_replaced_bytes(plan: &CopyPlan, root: &OwnedFd) -> u64 {
    let mut bytes = 0_u64;
    let mut directory = None;
    for leaf in &plan.leaves {
        let number = leaf.at.directory;
        if directory.as_ref().is_none_or(|(known, _)| *known != number) {
            let at = &plan.directories[number as usize].at;
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
            let opened = open_beneath(
                root.as_fd(),
                &plan.path(at),
                flags,
                rustix::fs::Mode::empty(),
            );
            directory = Some((number, opened));
        }
        if let Some((_, Ok(directory))) = &directory
            && let Ok(stat) =
                rustix::fs::statat(directory, &*leaf.at.name, AtFlags::SYMLINK_NOFOLLOW)
        {
            bytes = bytes.saturating_add((stat.st_blocks as u64).saturating_mul(512));
        }
    }
    bytes
}
