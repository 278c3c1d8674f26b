//! The identity of a mount namespace.
//!
//! The kernel reuses the inode number of a namespace as soon as it ends, and numbers start again
//! with each boot. So a record about a namespace needs more than that number.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use rustix::ioctl::{Getter, ioctl, opcode};

/// `NS_GET_MNTNS_ID` of `linux/nsfs.h`, since Linux 6.11.
const NS_GET_MNTNS_ID: u32 = opcode::read::<u64>(0xb7, 5);

/// Inode numbers up to this one are the initial namespace's, which never ends.
const INITIAL: u64 = 0xF000_0001;

/// The field of `/proc/PID/stat` with the time at which the process began, counted after its name.
const START_TIME: usize = 19;

/// Identifies the mount namespace of this process among all earlier and later ones of this machine:
/// by its unique id and the boot id. Before Linux 6.11 there is no such id, so we use the start
/// time of the first process in `/proc`, which distinguishes containers.
///
/// `None` for the initial namespace, whose inode number identifies it across boots.
pub(crate) fn own_identity() -> Option<String> {
    let namespace = File::open("/proc/self/ns/mnt").ok()?;
    if namespace.metadata().ok()?.ino() <= INITIAL {
        return None;
    }
    let number = match number(&namespace) {
        Some(number) => number.to_string(),
        None => format!("p{}", start_time("/proc/1/stat")?),
    };
    Some(format!("{number} {}", boot()?))
}

/// Identifies a mount namespace during this boot and no other, the initial one too.
///
/// Before Linux 6.11 this names the boot alone, and the inode number has to do for the rest.
pub(crate) fn identity_in_boot(namespace: &File) -> Option<String> {
    let number = number(namespace).map_or_else(|| "-".to_owned(), |number| number.to_string());
    Some(format!("{number} {}", boot()?))
}

/// The number of a mount namespace, which the kernel uses only once in a boot.
fn number(namespace: &File) -> Option<u64> {
    // SAFETY: the request writes a `u64`, for which the getter has space.
    unsafe { ioctl(namespace, Getter::<NS_GET_MNTNS_ID, u64>::new()) }.ok()
}

/// The identifier of this boot of the machine.
fn boot() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned())
}

/// When a process began, in clock ticks since the boot.
fn start_time(stat: &str) -> Option<u64> {
    let text = fs::read_to_string(stat).ok()?;
    // The name of the program is in parentheses and may have any character in it.
    let fields = text.rsplit_once(") ")?.1;
    fields.split(' ').nth(START_TIME)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_namespace_has_one_identity() {
        assert_eq!(own_identity(), own_identity());
        let own = File::open("/proc/self/ns/mnt").unwrap();
        let identity = identity_in_boot(&own).unwrap();
        assert!(identity.ends_with(&boot().unwrap()), "{identity}");
        assert_eq!(identity_in_boot(&own), Some(identity));
    }

    #[test]
    fn a_process_has_one_start() {
        let own = start_time("/proc/self/stat").unwrap();
        assert_eq!(start_time("/proc/self/stat"), Some(own));
        assert!(start_time("/proc/1/stat").unwrap() <= own);
    }
}
