//! A directory of this mount namespace, shown in that of another process, such as one in a container.
//!
//! `open_tree` makes a mount of the directory that is nowhere yet; a thread of this process then
//! enters the other's mount namespace and root, and puts it there. The other process needs no
//! privilege, no mount of its own and no propagation between the two. Nothing is run there.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change, move_mount,
    open_tree,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use thiserror::Error;

use super::mountinfo::MountTable;

/// How often a busy mount is tried again while there is time.
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// A directory that is shown elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graft {
    /// A process that sees it.
    pub pid: u32,
    /// The inode number of that process's mount namespace.
    pub namespace: u64,
    /// Where it is there: absolute, without symbolic links.
    pub path: PathBuf,
    /// The mount's number, unique while it exists.
    pub mount: u64,
}

/// Why a directory cannot be shown elsewhere, or taken away again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GraftError {
    /// There is no such process.
    #[error("there is no process {0}")]
    NoProcess(u32),
    /// This process may not enter the other's namespace.
    #[error("entering the mount namespace of process {pid} is not permitted")]
    NotPermitted {
        /// The other process.
        pid: u32,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The directory to show cannot be taken.
    #[error("{} cannot be shown elsewhere", path.display())]
    Source {
        /// The directory.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The place in the other namespace cannot be made or mounted over.
    #[error("{} cannot be mounted over in process {pid}", path.display())]
    Place {
        /// The other process.
        pid: u32,
        /// The place.
        path: PathBuf,
        /// What the kernel answered.
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
        /// What was being done.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl GraftError {
    /// Says what the user can do, where something is known to help.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoProcess(_) => Some(
                "it has ended, or the number is of another PID namespace: take the one that the \
                 container's engine shows on this machine",
            ),
            Self::NotPermitted { .. } => Some(
                "run it as root on the host; for a container of rootless podman, as its user: podman \
                 unshare cachefs attach ...",
            ),
            Self::Source { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    Some("mounting takes root; for a container of rootless podman: podman unshare")
                }
                io::ErrorKind::Unsupported => Some("it takes Linux 5.2; use the engine's -v"),
                _ => None,
            },
            Self::Place { source, .. } => match source.kind() {
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Some(
                    "make the directory in the image, or start the container with a tmpfs above it",
                ),
                io::ErrorKind::NotADirectory => Some("name a directory, or one to be made"),
                _ => None,
            },
            Self::Busy { .. } => {
                Some("end what uses it there, or take it away with `cachefs detach --lazy`")
            }
            Self::Io { .. } => None,
        }
    }
}

/// Shows the directory `source` at `path` in the mount namespace and root of process `pid`.
///
/// `path` is absolute there; symbolic links in it are followed within that root. What is missing of
/// it is made, owned like the directory above. Whatever else is mounted below `source` does not come
/// along. The mount is private: nothing that happens to it in one place happens in the other.
///
/// # Errors
/// [`GraftError`]; nothing is shown then, but directories may have been made.
pub fn graft(source: &Path, pid: u32, path: &Path) -> Result<Graft, GraftError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, source, flags).map_err(|errno| GraftError::Source {
        path: source.to_owned(),
        source: errno.into(),
    })?;
    let there = Process::open(pid)?;
    let path = there.inside(|| show(&tree, path).map_err(|source| place(pid, path, source)))?;
    let mount = rustix::fs::statx(&tree, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        .map_err(doing("the new mount cannot be asked for its number"))?;
    Ok(Graft {
        pid,
        namespace: there.number,
        path,
        mount: mount.stx_mnt_id,
    })
}

/// What a path is called in the root of process `pid` without symbolic links, as far as it exists.
///
/// # Errors
/// [`GraftError::NoProcess`] or [`GraftError::NotPermitted`] when the process cannot be entered;
/// [`GraftError::Place`] when the path cannot be followed.
pub fn resolve(pid: u32, path: &Path) -> Result<PathBuf, GraftError> {
    Process::open(pid)?.inside(|| follow(path).map_err(|source| place(pid, path, source)))
}

/// Like [`Path::canonicalize`], for paths whose end may be missing.
fn follow(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(error);
            };
            Ok(follow(above)?.join(name))
        }
        followed => followed,
    }
}

/// Mounts a tree at a path of the calling thread's namespace.
fn show(tree: &OwnedFd, path: &Path) -> io::Result<PathBuf> {
    make_directory(path)?;
    let path = path.canonicalize()?;
    move_mount(
        tree,
        "",
        CWD,
        &path,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    mount_change(&path, MountPropagationFlags::PRIVATE)?;
    Ok(path)
}

/// Makes a directory and those above it, owned like the one that was there.
fn make_directory(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let above = path.parent().ok_or(io::ErrorKind::NotFound)?;
    make_directory(above)?;
    let owner = fs::metadata(above)?;
    fs::create_dir(path)?;
    chown(path, Some(owner.uid()), Some(owner.gid()))
}

/// Takes a directory away again; `false` when it is not there any more.
///
/// # Errors
/// [`GraftError`]; it is shown as before then. With `lazy`, never [`GraftError::Busy`].
pub fn prune(graft: &Graft, lazy: bool, patience: Duration) -> Result<bool, GraftError> {
    let Some((there, table)) = Process::of(graft) else {
        return Ok(false);
    };
    let pid = there.pid;
    let busy = || GraftError::Busy {
        pid,
        path: graft.path.clone(),
    };
    if table
        .topmost_at(&graft.path)
        .is_none_or(|mount| mount.id != graft.mount)
    {
        return Err(busy());
    }
    let mut flags = UnmountFlags::NOFOLLOW;
    flags.set(UnmountFlags::DETACH, lazy);
    let deadline = Instant::now() + patience;
    there.inside(|| {
        loop {
            match rustix::mount::unmount(&graft.path, flags) {
                Ok(()) => return Ok(true),
                Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(RETRY_EVERY),
                Err(Errno::BUSY) => return Err(busy()),
                Err(errno) => return Err(place(pid, &graft.path, errno.into())),
            }
        }
    })
}

/// Tells whether a directory is still shown where it was put.
pub fn is_there(graft: &Graft) -> bool {
    Process::of(graft).is_some()
}

/// The number of a process's mount namespace; `None` when there is no such process, or it may not
/// be looked at.
fn namespace_of(pid: u32) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/mnt"))
        .ok()
        .map(|found| found.ino())
}

fn place(pid: u32, path: &Path, source: io::Error) -> GraftError {
    GraftError::Place {
        pid,
        path: path.to_owned(),
        source,
    }
}

fn doing<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> GraftError {
    move |error| GraftError::Io {
        what,
        source: error.into(),
    }
}

/// A process, with what it takes to go where it is.
struct Process {
    pid: u32,
    namespace: File,
    number: u64,
    root: OwnedFd,
}

impl Process {
    fn open(pid: u32) -> Result<Self, GraftError> {
        let of = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => GraftError::NoProcess(pid),
            _ => GraftError::NotPermitted { pid, source: error },
        };
        let namespace = File::open(of("ns/mnt")).map_err(refused)?;
        let number = namespace.metadata().map_err(refused)?.ino();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(of("root"), flags, Mode::empty())
            .map_err(|errno| refused(errno.into()))?;
        Ok(Self {
            pid,
            namespace,
            number,
            root,
        })
    }

    /// A process that sees a graft, with its mounts: the one that was named, or, when that has
    /// ended, any other of its namespace. `None` when nobody sees it any more.
    fn of(graft: &Graft) -> Option<(Self, MountTable)> {
        let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
        let others = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let sees = |pid| {
            if namespace_of(pid) != Some(graft.namespace) {
                return None;
            }
            let table = fs::read(format!("/proc/{pid}/mountinfo")).ok()?;
            let table = MountTable::parse(&table).ok()?;
            // A process with another root has other names for the same mounts.
            let mut entries = table.entries().iter();
            entries.find(|entry| entry.id == graft.mount && entry.mount_point == graft.path)?;
            Some((Self::open(pid).ok()?, table))
        };
        std::iter::once(graft.pid).chain(others).find_map(sees)
    }

    /// Runs `work` on a thread that is in the process's mount namespace and has its root.
    fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, GraftError> + Send,
    ) -> Result<T, GraftError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("graft".to_owned())
                .spawn_scoped(scope, || {
                    self.enter().map_err(|source| GraftError::NotPermitted {
                        pid: self.pid,
                        source,
                    })?;
                    work()
                })
                .map_err(doing("a thread cannot be started"))?;
            thread.join().unwrap_or_else(|_| {
                Err(GraftError::Io {
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
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process in a mount namespace of its own, ended when dropped.
    struct Elsewhere(Child);

    impl Elsewhere {
        fn new() -> Option<Self> {
            if !rustix::process::geteuid().is_root() {
                println!("skipped: another mount namespace takes root");
                return None;
            }
            let child = Command::new("unshare")
                .args(["--mount", "--propagation", "private", "sh", "-c"])
                .arg("echo ready; exec sleep 1000")
                .stdout(Stdio::piped())
                .spawn();
            let mut child = child.ok()?;
            let mut ready = [0; 5];
            io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
            Some(Self(child))
        }

        fn seen(&self, path: &Path) -> PathBuf {
            let root = PathBuf::from(format!("/proc/{}/root", self.0.id()));
            root.join(path.strip_prefix("/").unwrap())
        }
    }

    impl Drop for Elsewhere {
        fn drop(&mut self) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }

    #[test]
    fn a_directory_is_shown_there_only_and_taken_away_again() {
        let Some(other) = Elsewhere::new() else {
            return;
        };
        let temp = tempfile::tempdir().unwrap();
        let source = temp.path().join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "shown").unwrap();
        let place = temp.path().join("deep/place");
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(temp.path().join("deep"), &link).unwrap();
        fs::create_dir(temp.path().join("deep")).unwrap();

        let resolved = resolve(other.0.id(), &link.join("place")).unwrap();
        let shown = graft(&source, other.0.id(), &link.join("place")).unwrap();
        assert_eq!(shown.path, resolved);
        assert_eq!(shown.path, place.canonicalize().unwrap());
        assert!(is_there(&shown));
        assert_eq!(fs::read(other.seen(&place.join("file"))).unwrap(), b"shown");
        assert!(!place.join("file").exists(), "it is mounted here as well");
        fs::write(other.seen(&place.join("back")), "written there").unwrap();
        assert!(source.join("back").exists());

        let busy = File::open(other.seen(&place.join("file"))).unwrap();
        let refused = prune(&shown, false, Duration::ZERO).unwrap_err();
        assert!(matches!(refused, GraftError::Busy { .. }), "{refused}");
        drop(busy);
        assert!(prune(&shown, false, Duration::from_secs(5)).unwrap());
        assert!(!is_there(&shown) && !prune(&shown, false, Duration::ZERO).unwrap());
        assert!(!other.seen(&place.join("file")).exists());
    }

    #[test]
    fn what_stands_in_the_way_is_named() {
        let missing = graft(Path::new("/proc"), u32::MAX >> 1, Path::new("/x"));
        if let Err(GraftError::Source { .. }) = missing {
            return println!("skipped: mounting takes root");
        }
        assert!(matches!(missing, Err(GraftError::NoProcess(_))));
        let Some(other) = Elsewhere::new() else {
            return;
        };
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        fs::write(&file, "x").unwrap();
        let refused = graft(temp.path(), other.0.id(), &file).unwrap_err();
        assert!(refused.hint().unwrap().contains("name a directory"));
        let refused = graft(temp.path(), other.0.id(), Path::new("/proc/none")).unwrap_err();
        assert!(matches!(refused, GraftError::Place { .. }), "{refused}");
    }

    #[test]
    fn a_directory_that_went_with_its_namespace_is_gone() {
        let Some(other) = Elsewhere::new() else {
            return;
        };
        let temp = tempfile::tempdir().unwrap();
        let source = temp.path().join("source");
        fs::create_dir(&source).unwrap();
        let shown = graft(&source, other.0.id(), &temp.path().join("place")).unwrap();
        drop(other);
        assert!(!is_there(&shown));
        assert!(!prune(&shown, false, Duration::ZERO).unwrap());
    }
}
