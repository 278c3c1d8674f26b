//! Directories of another user's tree, held by descriptor.
//!
//! A path below a directory that a container or another user can change may mean another file a
//! moment later. So we follow it once, one name at a time and relative to an open directory, and
//! use only the resulting descriptor from then on.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, PROC_SUPER_MAGIC, Uid};
use rustix::io::Errno;

/// How many symbolic links a path may lead through, as in the kernel.
const MOST_LINKS: usize = 40;
/// How often a name is tried again that others make and remove meanwhile.
const MOST_ATTEMPTS: usize = 40;
/// `.` and `..`, which every directory lists.
const OWN_ENTRIES: usize = 2;

/// Treatment of missing directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// They are left out; the result has no descriptor.
    Leave,
    /// They are made, and belong to the owner of the directory above.
    MakeLikeParent,
    /// They are made, and belong to this user and group; `None` for this process's own.
    MakeFor(Option<(u32, u32)>),
}

/// Treatment of symbolic links in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// They are followed within the root.
    Follow,
    /// They are an error (`ELOOP`): the path was free of links when somebody looked.
    Refuse,
}

/// A directory that was made.
#[derive(Debug)]
pub(crate) struct Made {
    above: OwnedFd,
    name: OsString,
}

impl Made {
    /// Removes the directory if it is empty.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub(crate) fn remove(&self) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.above,
            &self.name,
            AtFlags::REMOVEDIR,
        )?)
    }
}

/// Where a path leads.
#[derive(Debug)]
pub(crate) struct InRoot {
    /// The path from the root, absolute and without links, with the names that are missing.
    pub(crate) path: PathBuf,
    /// The directory, open as a path only; `None` when something is missing.
    pub(crate) directory: Option<OwnedFd>,
    /// The created directories, the outermost first.
    pub(crate) made: Vec<Made>,
}

/// Follows a path below `root` as a process with that root would, without ever leaving it.
///
/// Every name is looked up relative to an open directory and without following links; `..` returns
/// to the directory that was open before. So a rename or a new link in the path cannot lead out of
/// the root.
///
/// # Errors
///
/// Those of the system: `ENOTDIR` if the path is a file, `ELOOP` for too many links. A link of
/// `/proc` is refused ([`io::ErrorKind::InvalidInput`]), because it can lead to the files of
/// another process. A failure removes the created directories.
pub(crate) fn in_root(
    root: BorrowedFd<'_>,
    path: &Path,
    links: Links,
    missing: Missing,
) -> io::Result<InRoot> {
    let mut walk = Walk {
        root,
        open: Vec::new(),
        missing: Vec::new(),
        made: Vec::new(),
    };
    match walk.follow(path, links, missing) {
        Ok(()) => {}
        Err(error) => {
            walk.made.iter().rev().for_each(|made| drop(made.remove()));
            return Err(error);
        }
    }
    let names = walk.open.iter().map(|(name, _)| name.as_os_str());
    let names = names.chain(walk.missing.iter().map(OsString::as_os_str));
    let path = std::iter::once(std::ffi::OsStr::new("/"))
        .chain(names)
        .collect();
    let directory = match (walk.missing.is_empty(), walk.open.pop()) {
        (false, _) => None,
        (true, Some((_, directory))) => Some(directory),
        (true, None) => Some(root.try_clone_to_owned()?),
    };
    Ok(InRoot {
        path,
        directory,
        made: walk.made,
    })
}

struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// The directories on the way to the present one, with their names.
    open: Vec<(OsString, OwnedFd)>,
    /// Names below the present one that are not there.
    missing: Vec<OsString>,
    made: Vec<Made>,
}

impl Walk<'_> {
    fn here(&self) -> BorrowedFd<'_> {
        self.open.last().map_or(self.root, |(_, fd)| fd.as_fd())
    }

    fn follow(&mut self, path: &Path, links: Links, missing: Missing) -> io::Result<()> {
        let mut pending = steps(path);
        let mut followed = 0;
        while let Some(step) = pending.pop_front() {
            if step == ".." {
                // Above a root is the root.
                if self.missing.pop().is_none() {
                    self.open.pop();
                }
                continue;
            }
            if !self.missing.is_empty() {
                self.missing.push(step);
                continue;
            }
            let Some(found) = self.open_or_make(&step, missing)? else {
                self.missing.push(step);
                continue;
            };
            let stat = rustix::fs::fstat(&found)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => self.open.push((step, found)),
                FileType::Symlink if links == Links::Refuse => return Err(Errno::LOOP.into()),
                FileType::Symlink => {
                    followed += 1;
                    if followed > MOST_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = target_of(&found)?;
                    if target.is_absolute() {
                        self.open.clear();
                    }
                    let rest = std::mem::replace(&mut pending, steps(&target));
                    pending.extend(rest);
                }
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        Ok(())
    }

    /// Opens a name of the present directory, whatever it is. `None` when it is missing and stays so.
    fn open_or_make(&mut self, name: &OsString, missing: Missing) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..MOST_ATTEMPTS {
            match rustix::fs::openat(self.here(), name, flags, Mode::empty()) {
                Err(Errno::NOENT) if missing == Missing::Leave => return Ok(None),
                Err(Errno::NOENT) => {}
                found => return Ok(Some(found?)),
            }
            let mode = Mode::from_raw_mode(0o777);
            match rustix::fs::mkdirat(self.here(), name, mode) {
                Ok(()) => {}
                // Somebody was faster.
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(errno.into()),
            }
            self.made.push(Made {
                above: self.here().try_clone_to_owned()?,
                name: name.clone(),
            });
            let owner = match missing {
                Missing::MakeFor(owner) => owner,
                Missing::MakeLikeParent | Missing::Leave => {
                    let above = rustix::fs::fstat(self.here())?;
                    Some((above.st_uid, above.st_gid))
                }
            };
            return Ok(Some(open_new(self.here(), name, owner)?));
        }
        Err(Errno::AGAIN.into())
    }
}

/// Opens a directory that this process has just created, and changes its owner.
///
/// Other users may replace it in between, so we check that it is neither a link nor somebody
/// else's.
fn open_new(
    above: BorrowedFd<'_>,
    name: &OsString,
    owner: Option<(u32, u32)>,
) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let new = rustix::fs::openat(above, name, flags, Mode::empty())?;
    let Some((uid, gid)) = owner else {
        return Ok(new);
    };
    if Dir::read_from(&new)?.take(OWN_ENTRIES + 1).count() > OWN_ENTRIES {
        return Err(Errno::BUSY.into());
    }
    match rustix::fs::fchown(&new, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))) {
        // A user who may not change owners will notice that with the files.
        Ok(()) | Err(Errno::PERM | Errno::ACCESS) => Ok(new),
        Err(errno) => Err(errno.into()),
    }
}

/// The target of an open symbolic link.
fn target_of(link: &OwnedFd) -> io::Result<PathBuf> {
    if rustix::fs::fstatfs(link)?.f_type == PROC_SUPER_MAGIC {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path goes through a link of /proc, which can lead to files of another process",
        ));
    }
    use std::os::unix::ffi::OsStringExt as _;
    let target = rustix::fs::readlinkat(link, "", Vec::new())?;
    Ok(OsString::from_vec(target.into_bytes()).into())
}

/// The names and `..` of a path.
fn steps(path: &Path) -> VecDeque<OsString> {
    let step = |component| match component {
        Component::Normal(name) => Some(OsString::from(name)),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).unwrap()
    }

    #[test]
    fn no_link_leads_out_of_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("rootfs");
        fs::create_dir_all(root.join("data/home")).unwrap();
        fs::create_dir_all(dir.path().join("etc")).unwrap();
        symlink("/data/home", root.join("root")).unwrap();
        symlink("../../../../etc", root.join("data/up")).unwrap();
        symlink("up/x", root.join("data/twice")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        let fd = open(&root);
        let at = |path: &str, missing| in_root(fd.as_fd(), path.as_ref(), Links::Follow, missing);
        for (path, real) in [
            ("/root/.m2", "/data/home/.m2"),
            ("/data/up/passwd", "/etc/passwd"),
            ("/data/twice", "/etc/x"),
            ("/../../x", "/x"),
            ("/not/there/../here", "/not/here"),
            ("/", "/"),
        ] {
            let found = at(path, Missing::Leave).unwrap();
            assert_eq!(found.path, Path::new(real), "{path}");
            assert_eq!(found.directory.is_some(), path == "/", "{path}");
            let made = at(path, Missing::MakeLikeParent).unwrap();
            assert_eq!(made.path, Path::new(real), "{path}");
            let below = root.join(real.strip_prefix('/').unwrap());
            let expected = fs::metadata(&below).unwrap().ino();
            let directory = made.directory.unwrap();
            assert_eq!(rustix::fs::fstat(&directory).unwrap().st_ino, expected);
            made.made.iter().rev().for_each(|it| it.remove().unwrap());
            assert_eq!(below.exists(), path == "/", "{path}");
        }
        assert_eq!(fs::read_dir(dir.path().join("etc")).unwrap().count(), 0);
        for wrong in ["/loop/x", "/file", "/file/x", "/file/../x"] {
            assert!(at(wrong, Missing::MakeLikeParent).is_err(), "{wrong}");
        }
        assert!(!root.join("x").exists());
    }

    #[test]
    fn links_of_proc_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path().join("host");
        fs::create_dir(&host).unwrap();
        let root = open(Path::new("/"));
        let through = format!("/proc/self/root{}/made", host.display());
        let refused = in_root(
            root.as_fd(),
            through.as_ref(),
            Links::Follow,
            Missing::MakeLikeParent,
        );
        assert_eq!(
            refused.unwrap_err().kind(),
            io::ErrorKind::InvalidInput,
            "{through}"
        );
        assert!(!host.join("made").exists());
    }

    #[test]
    fn a_directory_that_became_a_link_is_refused_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::create_dir(&victim).unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        symlink(&victim, dir.path().join("a/link")).unwrap();
        let fd = open(dir.path());
        let make = |path: &str| {
            let missing = Missing::MakeFor(Some((7, 8)));
            in_root(fd.as_fd(), path.as_ref(), Links::Refuse, missing)
        };
        let refused = make("/a/link/deep").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
        assert_ne!(fs::metadata(&victim).unwrap().uid(), 7);
        let made = make("/a/b/c").unwrap();
        assert_eq!(made.made.len(), 2);
        if rustix::process::geteuid().is_root() {
            assert_eq!(fs::metadata(dir.path().join("a/b/c")).unwrap().gid(), 8);
        }
    }
}
