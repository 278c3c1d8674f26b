//! Distinguishes local disks from filesystems that a network or a process serves.

use std::path::Path;

use rustix::fs::statfs;

/// The `f_type` of filesystems whose files are elsewhere, from `linux/magic.h` and the filesystems'
/// own sources. FUSE is included because its backing store is unknown.
const REMOTE_TYPES: [u32; 17] = [
    0x0000_6969, // nfs
    0x0000_517b, // smb
    0xff53_4d42, // cifs
    0xfe53_4d42, // smb2, smb3
    0x6573_5546, // fuse
    0x0102_1997, // 9p
    0x00c3_6400, // ceph
    0x5346_414f, // afs
    0x6b41_4653, // afs of the kernel
    0x7375_7245, // coda
    0x0000_564c, // ncp
    0x0bd0_0bd0, // lustre
    0x4750_4653, // gpfs
    0x1983_0326, // beegfs
    0x7461_636f, // ocfs2
    0x0116_1970, // gfs2
    0x786f_4256, // vboxsf
];

/// Whether files at `path` are on a local disk, and whether that is certain: for a path that does
/// not exist the nearest directory above it answers.
pub(super) fn is_local(path: &Path) -> (bool, bool) {
    for (distance, path) in path.ancestors().enumerate() {
        if let Ok(stat) = statfs(path) {
            // The kernel's constants are 32 bits wide, whatever the field's type here.
            let local = !REMOTE_TYPES.contains(&(stat.f_type as u32));
            return (local, distance == 0);
        }
    }
    (false, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_to_be_created_is_judged_by_the_directory_above() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(is_local(dir.path()), (true, true));
        assert_eq!(is_local(&dir.path().join("a/b")), (true, false));
    }
}
