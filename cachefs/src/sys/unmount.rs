//! Unmounts, and explains failures.

use cachefs_store::Hint;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cachefs_store::resolve_beneath::open_real_directory;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use thiserror::Error;

use super::mount_id::MountIds;
use super::mount_users::{MountHolder, holders_of};
use super::mountinfo::{MountEntry, MountTable};

/// How often a busy mount is tried again while there is time.
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// How to unmount.
#[derive(Debug, Clone, Copy, Default)]
pub struct UnmountOptions {
    /// Detaches the mount at once; it stays alive for its present users.
    pub lazy: bool,
    /// How long a busy mount is tried again before its holders are looked for.
    pub patience: Duration,
}

/// Why a mount is still there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UnmountError {
    /// Nothing is mounted at exactly this path.
    #[error("nothing is mounted at {}", .0.display())]
    NotMounted(PathBuf),
    /// Processes or other mounts hold it.
    #[error("{} is in use{}", path.display(), list_holders(holders))]
    Busy {
        /// The mount point.
        path: PathBuf,
        /// The processes that hold it, as far as this process may see them.
        holders: Vec<MountHolder>,
    },
    /// The process may not unmount here.
    #[error("unmounting {} is not permitted", path.display())]
    NotPermitted {
        /// The mount point.
        path: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot unmount {}", path.display())]
    Io {
        /// The mount point.
        path: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
}

impl UnmountError {
    /// Advice for the user, if there is any.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NotMounted(_) | Self::Io { .. } => None,
            Self::Busy { holders, .. } if holders.is_empty() => Some(Hint::FindHolders),
            Self::Busy { .. } => Some(Hint::UnmountLazily),
            Self::NotPermitted { .. } => {
                Some("unmount as the user, and in the namespace, that mounted it".into())
            }
        }
    }
}

fn list_holders(holders: &[MountHolder]) -> String {
    const SHOWN: usize = 5;
    if holders.is_empty() {
        return " by a process that is not visible here".to_owned();
    }
    let shown: Vec<_> = holders
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    let more = match holders.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(" by {}{more}", shown.join(", "))
}

/// Unmounts the topmost mount at `path`.
///
/// # Errors
/// [`UnmountError`]; the mount is unchanged then. With `lazy`, never [`UnmountError::Busy`].
pub fn unmount_top(path: &Path, options: UnmountOptions) -> Result<(), UnmountError> {
    let real = path.canonicalize().map_err(|source| UnmountError::Io {
        path: path.to_owned(),
        source,
    })?;
    unmount_through(&real, &real, options)
}

/// Unmounts one mount, wherever the path of its mount point leads by now: the directories above it may be
/// another user's.
///
/// # Errors
/// Those of [`unmount_top`]; [`UnmountError::NotMounted`] when something else is at its mount point.
pub fn unmount_entry(mount: &MountEntry, options: UnmountOptions) -> Result<(), UnmountError> {
    let path = &mount.mount_point;
    let failed = |source: io::Error| UnmountError::Io {
        path: path.clone(),
        source,
    };
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return unmount_through(path, path, options);
    };
    let above = open_real_directory(above, OFlags::PATH).map_err(|errno| failed(errno.into()))?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mounted = rustix::fs::openat(&above, name, flags, Mode::empty());
    let mounted = mounted.map_err(|errno| failed(errno.into()))?;
    if MountIds::open()
        .and_then(|ids| ids.of(&mounted))
        .map_err(failed)?
        != mount.id
    {
        return Err(UnmountError::NotMounted(path.clone()));
    }
    // It would keep the mount busy.
    drop(mounted);
    // A name that mounts something cannot be renamed, so it means this mount from now on.
    let through = PathBuf::from(format!("/proc/self/fd/{}", above.as_raw_fd())).join(name);
    unmount_through(&through, path, options)
}

/// Unmounts `through`, which is another name of `path`.
fn unmount_through(
    through: &Path,
    path: &Path,
    options: UnmountOptions,
) -> Result<(), UnmountError> {
    let path = path.to_owned();
    let mut flags = UnmountFlags::NOFOLLOW;
    flags.set(UnmountFlags::DETACH, options.lazy);
    let deadline = Instant::now() + options.patience;
    loop {
        let errno = match rustix::mount::unmount(through, flags) {
            Ok(()) => return Ok(()),
            Err(errno) => errno,
        };
        match errno {
            Errno::BUSY if Instant::now() < deadline => std::thread::sleep(RETRY_EVERY),
            Errno::BUSY => {
                let holders = find_holders(&path);
                return Err(UnmountError::Busy { path, holders });
            }
            // The kernel says EINVAL also for a mount that a user namespace has locked.
            Errno::INVAL | Errno::NOENT if !is_mounted(&path) => {
                return Err(UnmountError::NotMounted(path));
            }
            Errno::PERM | Errno::INVAL | Errno::ACCESS => {
                return Err(UnmountError::NotPermitted {
                    path,
                    source: errno.into(),
                });
            }
            _ => {
                return Err(UnmountError::Io {
                    path,
                    source: errno.into(),
                });
            }
        }
    }
}

fn is_mounted(path: &Path) -> bool {
    match MountTable::read() {
        Ok(table) => table.topmost_at(path).is_some(),
        // A table that cannot be read does not prove that nothing is mounted.
        Err(_) => true,
    }
}

fn find_holders(path: &Path) -> Vec<MountHolder> {
    let Ok(table) = MountTable::read() else {
        return Vec::new();
    };
    table
        .topmost_at(path)
        .map(|mount| holders_of(mount, &table))
        .unwrap_or_default()
}
