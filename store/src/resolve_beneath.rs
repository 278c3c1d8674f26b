//! Opening paths below a directory without ever leaving it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Paths longer than this are opened in steps, because the kernel takes at most 4,095 bytes.
const STEP: usize = 3000;

/// Opens the directory at an absolute path that has been resolved before. A symbolic link anywhere on
/// the way is an error: somebody has put it there since, to have another directory written to.
///
/// # Errors
///
/// `ELOOP` or `ENOTDIR` for a link, and whatever else opening the directory answers.
pub fn open_real_directory(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let directory = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", OFlags::PATH | directory, Mode::empty())?;
    let below = path.strip_prefix("/").map_err(|_| Errno::INVAL)?;
    open_beneath(root.as_fd(), below, flags | directory, Mode::empty())
}

/// Opens `path` below `root`; no symbolic link on the way is followed.
///
/// An empty path or `.` opens `root` again.
pub(crate) fn open_beneath(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let open = |at: BorrowedFd<'_>, path: &Path, flags, mode| {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(at, path, flags, mode, resolve) {
            // A file that is a symbolic link is to be opened as one where the caller says so.
            Err(Errno::LOOP) if flags.contains(OFlags::PATH) => {
                let (parent, name) = match (path.parent(), path.file_name()) {
                    (Some(parent), Some(name)) if !parent.as_os_str().is_empty() => (parent, name),
                    _ => return rustix::fs::openat(at, path, flags | OFlags::NOFOLLOW, mode),
                };
                let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let parent = rustix::fs::openat2(at, parent, directory, Mode::empty(), resolve)?;
                rustix::fs::openat(&parent, name, flags | OFlags::NOFOLLOW, mode)
            }
            // Seccomp profiles of old container runtimes answer for calls that they do not know.
            Err(Errno::NOSYS | Errno::PERM) => step_by_step(at, path, flags, mode),
            other => other,
        }
    };
    if path.as_os_str().len() <= STEP {
        return open(root, path, flags, mode);
    }
    let mut at: Option<OwnedFd> = None;
    let mut rest = PathBuf::new();
    for component in path.components() {
        if rest.as_os_str().len() + component.as_os_str().as_bytes().len() >= STEP {
            let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let from = at.as_ref().map_or(root, |fd| fd.as_fd());
            at = Some(open(from, &rest, directory, Mode::empty())?);
            rest = PathBuf::new();
        }
        rest.push(component);
    }
    open(
        at.as_ref().map_or(root, |fd| fd.as_fd()),
        &rest,
        flags,
        mode,
    )
}

fn step_by_step(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut components: Vec<_> = path.components().collect();
    let Some(last) = components.pop() else {
        return Err(Errno::NOENT);
    };
    let mut at: Option<OwnedFd> = None;
    for component in components {
        let Component::Normal(name) = component else {
            continue;
        };
        let from = at.as_ref().map_or(root, |fd| fd.as_fd());
        at = Some(rustix::fs::openat(from, name, directory, Mode::empty())?);
    }
    let from = at.as_ref().map_or(root, |fd| fd.as_fd());
    match last {
        Component::Normal(name) => rustix::fs::openat(from, name, flags | OFlags::NOFOLLOW, mode),
        Component::CurDir => rustix::fs::openat(from, ".", flags, mode),
        _ => Err(Errno::XDEV),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_behind_a_link_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("real/deep")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        let open = |path: &str, flags| open_real_directory(&root.join(path), flags);
        for flags in [OFlags::RDONLY, OFlags::PATH] {
            open("real/deep", flags).unwrap();
            for path in ["link", "link/deep", "file", "real/../link"] {
                assert!(open(path, flags).is_err(), "{path}");
            }
        }
        assert!(open_real_directory(Path::new("real"), OFlags::PATH).is_err());
        open_real_directory(Path::new("/"), OFlags::PATH).unwrap();
    }
}
