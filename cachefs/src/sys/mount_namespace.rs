//! The identity of a mount namespace.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use rustix::ioctl::{Getter, ioctl, opcode};

/// `NS_GET_MNTNS_ID` of `linux/nsfs.h`, since Linux 6.11.
const NS_GET_MNTNS_ID: u32 = opcode::read::<u64>(0xb7, 5);

/// Inode numbers up to this one are the initial namespace's, which never ends.
const INITIAL: u64 = 0xF000_0001;

/// What tells the mount namespace of this process from all others of this machine, earlier and later
/// ones: its number and the boot's. Its inode number goes to the next namespace as soon as it ends.
///
/// `None` for the initial namespace, which its inode number identifies, and before Linux 6.11.
pub(crate) fn own_identity() -> Option<String> {
    let namespace = File::open("/proc/self/ns/mnt").ok()?;
    if namespace.metadata().ok()?.ino() <= INITIAL {
        return None;
    }
    // SAFETY: the request writes a `u64`, which is what the getter has room for.
    let number = unsafe { ioctl(namespace, Getter::<NS_GET_MNTNS_ID, u64>::new()) }.ok()?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{number} {}", boot.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_namespace_has_one_identity() {
        assert_eq!(own_identity(), own_identity());
    }
}
