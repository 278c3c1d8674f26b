//! An EROFS image, mounted from the file that it is.

use std::fs;
use std::path::Path;

use rustix::mount::{MountFlags, mount};

use super::kernel::KernelVersion;
use super::{MountError, namespace};

/// The filesystem type that `/proc/self/mountinfo` shows.
pub const EROFS_TYPE: &str = "erofs";

/// The first kernel that mounts an image from a file, without a block device.
const FILE_BACKED: KernelVersion = KernelVersion {
    major: 6,
    minor: 12,
};

/// Whether mounting an image is worth trying: the kernel is new enough, knows EROFS, and the
/// caller is not confined to a user namespace, in which EROFS cannot be mounted.
pub fn is_likely() -> bool {
    namespace::in_initial_user_namespace()
        && KernelVersion::running() >= FILE_BACKED
        && fs::read_to_string("/proc/filesystems").is_ok_and(|known| {
            known
                .lines()
                .any(|line| line.split_whitespace().last() == Some(EROFS_TYPE))
        })
}

/// Mounts the image at `target`, read-only, `nosuid,nodev`.
///
/// # Errors
/// Any [`MountError`] but the ones about uppers.
pub fn mount_erofs(image: &Path, target: &Path) -> Result<(), MountError> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount(image, target, EROFS_TYPE, flags, None).map_err(|errno| {
        MountError::from_mount(EROFS_TYPE, target.to_owned(), String::new(), errno)
    })
}
