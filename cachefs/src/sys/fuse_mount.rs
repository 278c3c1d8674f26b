//! A FUSE filesystem mounted in the caller's own mount namespace.
//!
//! The client mounts and passes the descriptor to the daemon ([`super::fdpass`]), so the daemon
//! needs no privilege and no access to the namespace of the mount.

use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{getegid, geteuid};

use super::MountError;

/// The filesystem type that `/proc/self/mountinfo` shows for our FUSE mounts.
pub const FUSE_TYPE: &str = "fuse.cachefs";

/// The character device through which FUSE requests arrive.
pub const FUSE_DEVICE: &str = "/dev/fuse";
/// Its numbers, which are the same on every Linux.
const MISC_MAJOR: u32 = 10;
const FUSE_MINOR: u32 = 229;

/// How a FUSE filesystem is mounted.
#[derive(Debug, Clone)]
pub struct FuseMountOptions {
    /// The source that the mount table shows.
    pub source: String,
    /// Whether writes are refused by the kernel.
    pub read_only: bool,
    /// Whether users other than the mounting one may look inside.
    pub allow_other: bool,
    /// Whether the kernel checks mode bits; without it every access is allowed.
    pub default_permissions: bool,
    /// The largest read request in bytes; the kernel's default when `None`.
    pub max_read: Option<u32>,
}

impl Default for FuseMountOptions {
    /// The read-only view of a cache: everyone may look, the mode bits decide.
    fn default() -> Self {
        Self {
            source: "cachefs".to_owned(),
            read_only: true,
            allow_other: true,
            default_permissions: true,
            max_read: None,
        }
    }
}

/// Whether a descriptor is one of `/dev/fuse`.
pub fn is_fuse_device(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == rustix::fs::makedev(MISC_MAJOR, FUSE_MINOR)
    })
}

/// Opens `/dev/fuse` (close-on-exec).
///
/// # Errors
/// [`MountError::NoFuseDevice`] or [`MountError::FuseDeviceDenied`].
pub fn open_fuse_device() -> Result<OwnedFd, MountError> {
    rustix::fs::open(FUSE_DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        match errno {
            Errno::NOENT | Errno::NODEV | Errno::NXIO => MountError::NoFuseDevice,
            other => MountError::FuseDeviceDenied(io::Error::from(other)),
        }
    })
}

/// Mounts a `fuse.cachefs` filesystem at `mountpoint` and returns the descriptor to serve it from.
///
/// The mount is `nosuid,nodev`, because its contents come from another machine. It works for root,
/// and in a user namespace whose root is the caller. `mount(2)` returns before the server has
/// answered `FUSE_INIT`, and any access waits for that: serve the descriptor, or unmount and close
/// it.
///
/// # Errors
/// Any [`MountError`] except those about uppers.
pub fn mount_fuse(mountpoint: &Path, options: &FuseMountOptions) -> Result<OwnedFd, MountError> {
    let device = open_fuse_device()?;
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
    flags.set(MountFlags::RDONLY, options.read_only);
    mount(
        options.source.as_str(),
        mountpoint,
        FUSE_TYPE,
        flags,
        Some(mount_data(device.as_raw_fd(), options).as_c_str()),
    )
    .map_err(|errno| MountError::from_mount("fuse", mountpoint.to_owned(), String::new(), errno))?;
    Ok(device)
}

/// Writes the option string that the kernel's FUSE parses.
fn mount_data(fd: i32, options: &FuseMountOptions) -> std::ffi::CString {
    let mut text = format!(
        "fd={fd},rootmode=40000,user_id={},group_id={}",
        geteuid().as_raw(),
        getegid().as_raw()
    );
    if options.allow_other {
        text.push_str(",allow_other");
    }
    if options.default_permissions {
        text.push_str(",default_permissions");
    }
    if let Some(bytes) = options.max_read {
        write!(text, ",max_read={bytes}").expect("writing to a String cannot fail");
    }
    std::ffi::CString::new(text).expect("digits and option names hold no NUL byte")
}
