//! Reasons for a failed mount, in terms of settings that the user can change.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use thiserror::Error;

/// A reason why a FUSE or overlay mount failed.
///
/// [`MountError::hint`] gives advice. [`MountError::is_environment`] distinguishes "this machine
/// cannot mount" (fall back to a copy) from "this request is wrong" (report it).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MountError {
    /// `/dev/fuse` does not exist, or has no driver behind it.
    #[error("/dev/fuse does not exist")]
    NoFuseDevice,
    /// `/dev/fuse` exists, but this process may not open it.
    #[error("opening /dev/fuse is not permitted")]
    FuseDeviceDenied(#[source] io::Error),
    /// The kernel does not know the filesystem type, and could not load it.
    #[error("the kernel has no {0} filesystem")]
    FilesystemMissing(&'static str),
    /// The process lacks the privilege to mount.
    #[error("mounting {filesystem} at {} is not permitted", target.display())]
    NotPermitted {
        /// The filesystem type.
        filesystem: &'static str,
        /// Where it was to be mounted.
        target: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
    /// A security module (AppArmor, SELinux) refused a mount that the capabilities allow.
    #[error("a security policy refuses to mount {filesystem} at {}", target.display())]
    DeniedByPolicy {
        /// The filesystem type.
        filesystem: &'static str,
        /// Where it was to be mounted.
        target: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
    /// A directory that the mount needs cannot be used.
    #[error("the {role} {} cannot be used", path.display())]
    Directory {
        /// Role of the directory: mount point, lower, upper or work directory.
        role: &'static str,
        /// The directory.
        path: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
    /// The upper directory lies on an overlay, which the kernel refuses.
    #[error("the upper directory {} is itself on an overlay", .0.display())]
    UpperOnOverlay(PathBuf),
    /// The filesystem of the upper directory cannot hold an overlay's upper.
    #[error("the filesystem of the upper directory {} cannot hold an overlay: {reason}", path.display())]
    UpperUnsuitable {
        /// The upper directory.
        path: PathBuf,
        /// The missing feature.
        reason: String,
    },
    /// The filesystem of the upper does not take an extended attribute that the cached directory
    /// itself has. Ext4 has 4 KiB for all attributes of a file, unless it was made with `ea_inode`.
    #[error("the filesystem of {} does not support the extended attribute {name} of {bytes} bytes", path.display())]
    UpperAttribute {
        /// The upper directory.
        path: PathBuf,
        /// The attribute.
        name: String,
        /// Length of its value.
        bytes: usize,
        /// Error of the filesystem.
        source: io::Error,
    },
    /// Upper and work directory are not on one filesystem.
    #[error("the upper directory {} and the work directory {} are on different filesystems", upper.display(), work.display())]
    WorkElsewhere {
        /// The upper directory.
        upper: PathBuf,
        /// The work directory.
        work: PathBuf,
    },
    /// The lowers are overlays on overlays already; the kernel stacks two levels.
    #[error("the mount at {} would stack more overlays than the kernel allows", .0.display())]
    TooDeep(PathBuf),
    /// Lower, upper and work directory lie inside one another.
    #[error("the lower, upper and work directories of {} overlap", .0.display())]
    Overlapping(PathBuf),
    /// Another overlay is mounted with this upper or work directory.
    #[error("the upper directory {} is in use by another overlay{}", path.display(),
        mounted_at.as_ref().map(|at| format!(", mounted at {}", at.display())).unwrap_or_default())]
    UpperBusy {
        /// The upper directory.
        path: PathBuf,
        /// Where the other overlay is mounted, when this mount namespace shows it.
        mounted_at: Option<PathBuf>,
    },
    /// The upper was last used by a `volatile` overlay, so a crash may have left it incomplete.
    #[error("the upper of work directory {} was written by a volatile mount", .0.display())]
    StaleVolatile(PathBuf),
    /// The upper was made over other lowers (the kernel checks this with `index=on`).
    #[error("the upper directory {} belongs to another lower directory", .0.display())]
    UpperMismatch(PathBuf),
    /// The mount namespace, or the machine, has no room for one more mount.
    #[error("there are too many mounts")]
    TooManyMounts(#[source] io::Error),
    /// The kernel refused for a reason with no class of its own.
    #[error("the kernel refuses to mount {filesystem} at {}{}", target.display(),
        if kernel_log.is_empty() { String::new() } else { format!(" ({kernel_log})") })]
    Refused {
        /// The filesystem type.
        filesystem: &'static str,
        /// Where it was to be mounted.
        target: PathBuf,
        /// Messages of the kernel's mount context, or an empty text.
        kernel_log: String,
        /// Error of the kernel.
        source: io::Error,
    },
}

impl MountError {
    /// Advice for the user, if there is any.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoFuseDevice => {
                "load the module (modprobe fuse), or start the container with --device /dev/fuse"
            }
            Self::FuseDeviceDenied(_) => {
                "allow the device: chmod 0666 /dev/fuse, or start the container with --device /dev/fuse"
            }
            Self::FilesystemMissing("overlay") => "load the module on the host: modprobe overlay",
            Self::FilesystemMissing(_) => "load the module on the host: modprobe fuse",
            Self::NotPermitted { .. } => {
                "run as root, add CAP_SYS_ADMIN to the container (--cap-add SYS_ADMIN), or use a user \
                 namespace (unshare -Urm)"
            }
            Self::DeniedByPolicy { .. } => {
                "start the container with --security-opt apparmor=unconfined (or label=disable for SELinux)"
            }
            Self::UpperOnOverlay(_) => {
                "put the store on a volume or a tmpfs, not on the container's own root"
            }
            Self::UpperUnsuitable { .. } => {
                "put the store on ext4, xfs, btrfs or tmpfs; network filesystems and FAT do not work"
            }
            Self::UpperAttribute { .. } => {
                "put the store on XFS, Btrfs or tmpfs, or on ext4 made with -O ea_inode"
            }
            Self::WorkElsewhere { .. } => "keep both in one directory of the store",
            Self::TooDeep(_) => "mount over a directory that is not on an overlay of an overlay",
            Self::Overlapping(_) => "keep the store outside of the directory that is mounted over",
            Self::UpperBusy { .. } => {
                "unmount the other overlay first, or use another upper directory"
            }
            Self::StaleVolatile(_) => {
                "save or discard the changes in the upper directory, then use a new one"
            }
            Self::UpperMismatch(_) => {
                "use a new upper directory, or the lower directory that it was created with"
            }
            Self::TooManyMounts(_) => "unmount some, or raise fs.mount-max",
            Self::Directory { .. } | Self::Refused { .. } => return None,
        })
    }

    /// Whether the machine, and not the request, is the reason.
    ///
    /// `--mode auto` falls back to a copy for these errors and for no others.
    pub fn is_environment(&self) -> bool {
        matches!(
            self,
            Self::NoFuseDevice
                | Self::FuseDeviceDenied(_)
                | Self::FilesystemMissing(_)
                | Self::NotPermitted { .. }
                | Self::DeniedByPolicy { .. }
                | Self::UpperOnOverlay(_)
                | Self::UpperUnsuitable { .. }
                | Self::UpperAttribute { .. }
                | Self::TooDeep(_)
                | Self::TooManyMounts(_)
        )
    }

    /// Classifies errors of `mount(2)` and its successors that any filesystem can return.
    pub(super) fn from_mount(
        filesystem: &'static str,
        target: PathBuf,
        kernel_log: String,
        errno: Errno,
    ) -> Self {
        let source = io::Error::from(errno);
        match errno {
            Errno::PERM => Self::NotPermitted {
                filesystem,
                target,
                source,
            },
            Errno::ACCESS => Self::DeniedByPolicy {
                filesystem,
                target,
                source,
            },
            Errno::NODEV => Self::FilesystemMissing(filesystem),
            Errno::NOSPC | Errno::MFILE | Errno::NFILE => Self::TooManyMounts(source),
            Errno::NOENT | Errno::NOTDIR | Errno::NOTCONN | Errno::CONNABORTED => Self::Directory {
                role: "mount point",
                path: target,
                source,
            },
            _ => Self::Refused {
                filesystem,
                target,
                kernel_log,
                source,
            },
        }
    }
}
