//! A directory of this mount namespace, shown in that of another process, such as one in a container.
//!
//! `open_tree` makes a mount of the directory that is nowhere yet; a thread of this process then
//! enters the other's mount namespace and root, and puts it there. The other process needs no
//! privilege, no mount of its own and no propagation between the two. Nothing is run there.
//!
//! The other process can change its files at any time. So its path is followed once, within its root
//! ([`in_root`]), and the mount goes onto the descriptor that was found.

use cachefs_store::Hint;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cachefs_store::resolve_beneath::open_real_directory;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change, move_mount,
    open_tree,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use thiserror::Error;

use super::mount_id::MountIds;
use super::mount_namespace::identity_in_boot;
use super::mountinfo::MountTable;
use super::rooted_dir::{Links, Missing, in_root};

/// How often a busy mount is tried again while there is time.
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// A directory that is shown elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignMount {
    /// A process that sees it.
    pub pid: u32,
    /// The inode number of that process's mount namespace.
    pub namespace: u64,
    /// Number and boot of that namespace, which are never used again; `None` when an older version
    /// wrote it down, and then the inode number alone counts.
    pub identity: Option<String>,
    /// Where it is there: absolute, without symbolic links.
    pub path: PathBuf,
    /// The mount's number, unique while it exists.
    pub mount: u64,
}

/// Why a directory cannot be shown elsewhere, or taken away again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ForeignMountError {
    /// There is no such process.
    #[error("process {0} does not exist")]
    NoProcess(u32),
    /// This process may not enter the other's namespace.
    #[error("entering the mount namespace of process {pid} is not permitted")]
    NotPermitted {
        /// The other process.
        pid: u32,
        /// Error of the kernel.
        source: io::Error,
    },
    /// The directory to show cannot be taken.
    #[error("{} cannot be mounted elsewhere", path.display())]
    Source {
        /// The directory.
        path: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
    /// The place in the other namespace cannot be made or mounted over.
    #[error("{} cannot be mounted over in process {pid}", path.display())]
    Place {
        /// The other process.
        pid: u32,
        /// The place.
        path: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
    /// Processes there use it, or something else is mounted over it.
    #[error("{} is in use in process {pid}", path.display())]
    Busy {
        /// The other process.
        pid: u32,
        /// The place.
        path: PathBuf,
    },
    /// Anything else.
    #[error("{what}")]
    Io {
        /// The failed step.
        what: &'static str,
        /// Error of the kernel.
        source: io::Error,
    },
}

impl ForeignMountError {
    /// Advice for the user, if there is any.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NoProcess(_) => Some("it has exited, or the PID is from another PID namespace: use the host PID that the container engine reports".into()),
            Self::NotPermitted { .. } => Some(Hint::RunInPodmanNamespace),
            Self::Source { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    Some("mounting requires root; for rootless podman, use `podman unshare`".into())
                }
                io::ErrorKind::Unsupported => {
                    Some("this requires Linux 5.2; use the engine's -v option".into())
                }
                _ => None,
            },
            Self::Place { source, .. } => match source.kind() {
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Some("create the directory in the image, or start the container with a tmpfs above it".into()),
                io::ErrorKind::NotADirectory => Some("use a directory, or a path to create".into()),
                io::ErrorKind::InvalidInput => {
                    Some("use the real path of the directory in the container, without /proc".into())
                }
                _ => None,
            },
            Self::Busy { .. } => Some(Hint::DetachLazily),
            Self::Io { .. } => None,
        }
    }
}

/// The root directory below which a path of another process is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root<'a> {
    /// That of the process.
    OfProcess,
    /// This directory, by its path in the process's mount namespace: the root of a container that has
    /// not entered it yet. Only the engine may be able to change this path.
    At(&'a Path),
}

/// Mounts the directory `source` at `path` below `root` in the mount namespace of process `pid`.
///
/// `source` is absolute and free of links. A link that somebody puts in its way is an error, so
/// that no other directory of this machine is shown instead.
///
/// Symbolic links in `path` are followed once, within that root: whatever the process does to its
/// files in the meantime, nothing outside of the root is touched. Missing directories are created
/// with the owner of their parent. Other mounts below `source` are not included. The mount is
/// private: no mount event propagates between the two places.
///
/// # Errors
/// [`ForeignMountError`]; nothing is mounted then, but directories may have been created.
pub fn mount_in_process(
    source: &Path,
    pid: u32,
    root: Root<'_>,
    path: &Path,
) -> Result<ForeignMount, ForeignMountError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_real_directory(source, OFlags::PATH)
        .and_then(|source| open_tree(&source, "", flags))
        .map_err(|errno| ForeignMountError::Source {
            path: source.to_owned(),
            source: errno.into(),
        })?;
    let there = Process::open(pid)?;
    let path = there.inside(|| {
        let shown = match root {
            Root::OfProcess => mount_tree(&tree, &there.root, path),
            Root::At(root) => open_directory(root).and_then(|root| mount_tree(&tree, &root, path)),
        };
        shown.map_err(|source| place_error(pid, path, source))
    })?;
    let mount = there.ids.of(&tree);
    let mount = mount.map_err(name_step("cannot read the ID of the new mount"))?;
    Ok(ForeignMount {
        pid,
        namespace: there.number,
        identity: identity_in_boot(&there.namespace),
        path: match root {
            Root::OfProcess => path,
            Root::At(root) => root.join(path.strip_prefix("/").unwrap_or(&path)),
        },
        mount,
    })
}

/// Resolves a path in the root of process `pid`, without symbolic links; also works for missing
/// paths.
///
/// # Errors
/// [`ForeignMountError::NoProcess`] or [`ForeignMountError::NotPermitted`] if the process cannot be entered;
/// [`ForeignMountError::Place`] if the path cannot be followed.
pub fn resolve_in_container(pid: u32, path: &Path) -> Result<PathBuf, ForeignMountError> {
    let there = Process::open(pid)?;
    there.inside(|| {
        in_root(there.root.as_fd(), path, Links::Follow, Missing::Leave)
            .map(|found| found.path)
            .map_err(|source| place_error(pid, path, source))
    })
}

/// Opens a directory of the calling thread's root as a path only.
fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Mounts a tree at a path below a directory of the calling thread's namespace.
fn mount_tree(tree: &OwnedFd, root: &OwnedFd, path: &Path) -> io::Result<PathBuf> {
    let found = in_root(root.as_fd(), path, Links::Follow, Missing::MakeLikeParent)?;
    let directory = found.directory.ok_or(io::ErrorKind::NotFound)?;
    let by_descriptor =
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", &directory, "", by_descriptor)?;
    // `mount(2)` takes paths only, and this one means the new mount wherever it is by now.
    rustix::process::fchdir(tree)?;
    if let Err(errno) = mount_change(".", MountPropagationFlags::PRIVATE) {
        let _ = rustix::mount::unmount(".", UnmountFlags::DETACH);
        return Err(errno.into());
    }
    Ok(found.path)
}

/// Takes a directory away again; `false` when it is not there any more.
///
/// # Errors
/// [`ForeignMountError`]; it is shown as before then. With `lazy`, never [`ForeignMountError::Busy`].
pub fn unmount_in_process(
    foreign: &ForeignMount,
    lazy: bool,
    patience: Duration,
) -> Result<bool, ForeignMountError> {
    let Some((there, table)) = Process::of(foreign) else {
        return Ok(false);
    };
    let pid = there.pid;
    let busy = || ForeignMountError::Busy {
        pid,
        path: foreign.path.clone(),
    };
    if table
        .topmost_at(&foreign.path)
        .is_none_or(|mount| mount.id != foreign.mount)
    {
        return Err(busy());
    }
    let mut flags = UnmountFlags::NOFOLLOW;
    flags.set(UnmountFlags::DETACH, lazy);
    let deadline = Instant::now() + patience;
    there.inside(|| {
        let refused = |source: io::Error| place_error(pid, &foreign.path, source);
        let name = enter_above(foreign, &there).map_err(refused)?;
        loop {
            match rustix::mount::unmount(name, flags) {
                Ok(()) => return Ok(true),
                Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(RETRY_EVERY),
                Err(Errno::BUSY) => return Err(busy()),
                Err(errno) => return Err(refused(errno.into())),
            }
        }
    })
}

/// Makes the directory above a foreign mount the working directory of the calling thread; returns its
/// name in it. A name that mounts something cannot be renamed, so it means this mount from then on.
///
/// # Errors
///
/// When links are on the way by now, or something else is mounted there.
fn enter_above<'a>(foreign: &'a ForeignMount, there: &Process) -> io::Result<&'a OsStr> {
    let (Some(above), Some(name)) = (foreign.path.parent(), foreign.path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let found = in_root(there.root.as_fd(), above, Links::Refuse, Missing::Leave)?;
    let above = found.directory.ok_or(io::ErrorKind::NotFound)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mounted = rustix::fs::openat(&above, name, flags, Mode::empty())?;
    if there.ids.of(&mounted)? != foreign.mount {
        return Err(Errno::BUSY.into());
    }
    rustix::process::fchdir(&above)?;
    Ok(name)
}

/// Whether a directory is still mounted at its place.
pub fn is_there(foreign: &ForeignMount) -> bool {
    Process::of(foreign).is_some()
}

/// Whether a process is in the mount namespace of a foreign mount, and not in a later one with the same
/// inode number. Also `false` if there is no such process, or if it may not be inspected.
pub fn is_in_namespace_of(foreign: &ForeignMount, pid: u32) -> bool {
    let file = format!("/proc/{pid}/ns/mnt");
    if fs::metadata(&file).map_or(0, |found| found.ino()) != foreign.namespace {
        return false;
    }
    match (&foreign.identity, File::open(file)) {
        (None, Ok(_)) => true,
        (noted, Ok(namespace)) => *noted == identity_in_boot(&namespace),
        (_, Err(_)) => false,
    }
}

fn place_error(pid: u32, path: &Path, source: io::Error) -> ForeignMountError {
    ForeignMountError::Place {
        pid,
        path: path.to_owned(),
        source,
    }
}

fn name_step<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> ForeignMountError {
    move |error| ForeignMountError::Io {
        what,
        source: error.into(),
    }
}

/// A process, with the descriptors to enter its namespaces.
struct Process {
    pid: u32,
    namespace: File,
    number: u64,
    root: OwnedFd,
    ids: MountIds,
}

impl Process {
    fn open(pid: u32) -> Result<Self, ForeignMountError> {
        let of = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => ForeignMountError::NoProcess(pid),
            _ => ForeignMountError::NotPermitted { pid, source: error },
        };
        let namespace = File::open(of("ns/mnt")).map_err(refused)?;
        let number = namespace.metadata().map_err(refused)?.ino();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(of("root"), flags, Mode::empty())
            .map_err(|errno| refused(errno.into()))?;
        let ids = MountIds::open().map_err(name_step("cannot read mount IDs"))?;
        Ok(Self {
            pid,
            namespace,
            number,
            root,
            ids,
        })
    }

    /// A process that sees a foreign mount, with its mounts: the one that was named, or, when that has
    /// ended, any other of its namespace. `None` when nobody sees it any more.
    fn of(foreign: &ForeignMount) -> Option<(Self, MountTable)> {
        let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
        let others = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let sees = |pid| {
            if !is_in_namespace_of(foreign, pid) {
                return None;
            }
            let table = fs::read(format!("/proc/{pid}/mountinfo")).ok()?;
            let table = MountTable::parse(&table).ok()?;
            // A process with another root has other names for the same mounts.
            let mut entries = table.entries().iter();
            entries.find(|entry| entry.id == foreign.mount && entry.mount_point == foreign.path)?;
            Some((Self::open(pid).ok()?, table))
        };
        std::iter::once(foreign.pid).chain(others).find_map(sees)
    }

    /// Runs `work` on a thread that is in the process's mount namespace and has its root.
    fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, ForeignMountError> + Send,
    ) -> Result<T, ForeignMountError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("foreign-mount".to_owned())
                .spawn_scoped(scope, || {
                    self.enter()
                        .map_err(|source| ForeignMountError::NotPermitted {
                            pid: self.pid,
                            source,
                        })?;
                    work()
                })
                .map_err(name_step("cannot start a thread"))?;
            thread.join().unwrap_or_else(|_| {
                Err(ForeignMountError::Io {
                    what: "the thread in the other namespace panicked",
                    source: io::ErrorKind::Other.into(),
                })
            })
        })
    }

    /// Moves the calling thread, which must do nothing else afterwards.
    fn enter(&self) -> io::Result<()> {
        // SAFETY: no descriptors are unshared; only the thread's own root and working directory
        // become its own, without which it may not change namespaces.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }?;
        rustix::thread::move_into_link_name_space(
            self.namespace.as_fd(),
            Some(LinkNameSpaceType::Mount),
        )?;
        rustix::process::fchdir(&self.root)?;
        rustix::process::chroot(".")?;
        rustix::process::chdir("/")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
