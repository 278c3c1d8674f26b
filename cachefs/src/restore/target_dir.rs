//! The directory that a cache is restored to.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use cachefs_store::resolve_beneath::open_real_directory;
use cachefs_store::stack::Owner;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::paths::real_path;
use crate::sys::rooted_dir::{Links, Made, Missing, in_root};

/// The canonical path, which is a directory or missing. Nothing is created: a miss leaves the path
/// as it was, so that a later save can see that it has no content.
pub(super) fn find_target(path: &Path) -> Result<PathBuf> {
    let path = real_path(path);
    match fs::metadata(&path) {
        Ok(metadata) if !metadata.is_dir() => Err(Error::usage(
            format!("{} is a file", path.display()),
            "pass a directory, or move the file away",
        )),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            Err(Error::io("find", path)(error))
        }
        // A dead mount answers with ENOTCONN and the like; its own path is the canonical one.
        _ => Ok(path),
    }
}

/// The directory that a cache is restored to, held open, and those that were made for it, which go again
/// if nothing comes into them.
#[derive(Debug)]
pub struct MadeDirectories {
    directory: OwnedFd,
    /// The outermost first.
    made: Vec<Made>,
}

impl MadeDirectories {
    /// Creates the missing directories of a path, and gives them to `owner`, because a build of
    /// that user also writes next to its cache.
    ///
    /// `path` is absolute and free of links. Its parent directories may belong to another user, who
    /// can put a link there at any time. It is never followed, so root creates, writes and gives
    /// away nothing elsewhere.
    ///
    /// # Errors
    ///
    /// If a directory cannot be created or given away, and for a link in the path; then none is
    /// left.
    pub fn make(path: &Path, owner: Option<Owner>) -> Result<Self> {
        let owner = owner.map(|owner| (owner.uid, owner.gid));
        let root = open_real_directory(Path::new("/"), OFlags::PATH)
            .map_err(|errno| Error::io("open", "/")(errno.into()))?;
        let found = in_root(root.as_fd(), path, Links::Refuse, Missing::MakeFor(owner));
        let found = found.map_err(|error| match error.raw_os_error() {
            Some(errno) if errno == Errno::LOOP.raw_os_error() => became_a_link(path),
            _ => Error::io("create", path)(error),
        })?;
        let missing = || Error::io("create", path)(ErrorKind::NotFound.into());
        Ok(Self {
            directory: found.directory.ok_or_else(missing)?,
            made: found.made,
        })
    }

    /// The directory, open for reading.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(
            &self.directory,
            ".",
            flags,
            Mode::empty(),
        )?)
    }

    /// Removes the created directories that are empty.
    pub fn remove(&self) {
        for made in self.made.iter().rev() {
            if made.remove().is_err() {
                return;
            }
        }
    }
}

fn became_a_link(path: &Path) -> Error {
    Error::State {
        message: format!(
            "a symbolic link appeared in the path to {} during the restore",
            path.display()
        ),
        hint: "check which process changes its parent directories, and restore again".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_dangling_link_means_the_directory_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::os::unix::fs::symlink("data/m2", root.join(".m2")).unwrap();
        let made = find_target(&root.join("./x/../.m2/repository/")).unwrap();
        MadeDirectories::make(&made, None).unwrap();
        assert_eq!(made, root.join("data/m2/repository"));
        assert!(made.is_dir() && !root.join("x").exists());
        std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
        assert!(find_target(&root.join("loop")).is_err());
    }

    #[test]
    fn only_what_was_not_there_is_given_away() {
        if !rustix::process::geteuid().is_root() {
            cachefs_skip::skip("root", "only root changes owners");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("home/.m2/repository");
        fs::create_dir(dir.path().join("home")).unwrap();
        let owner = Owner { uid: 7, gid: 8 };
        let made = MadeDirectories::make(&path, Some(owner)).unwrap();
        let owner_of = |path: &Path| {
            let metadata = fs::metadata(path).unwrap();
            (metadata.uid(), metadata.gid())
        };
        assert_eq!(owner_of(&path), (7, 8));
        assert_eq!(owner_of(&dir.path().join("home/.m2")), (7, 8));
        assert_eq!(owner_of(&dir.path().join("home")), (0, 0));
        made.remove();
        assert!(!dir.path().join("home/.m2").exists() && dir.path().join("home").exists());
    }

    #[test]
    fn a_link_that_another_user_puts_on_the_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::create_dir(&victim).unwrap();
        let before = fs::metadata(&victim).unwrap().uid();
        // The path was free of links when the restore began.
        std::os::unix::fs::symlink(&victim, dir.path().join("build")).unwrap();
        let owner = Owner { uid: 7, gid: 8 };
        for path in ["build", "build/m2"] {
            let refused = MadeDirectories::make(&dir.path().join(path), Some(owner)).unwrap_err();
            assert!(refused.to_string().contains("symbolic link"), "{refused}");
        }
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
        assert_eq!(fs::metadata(&victim).unwrap().uid(), before);
        // Later writes go to the opened directory, wherever its name leads.
        let place = dir.path().join("place");
        let made = MadeDirectories::make(&place, None).unwrap();
        fs::rename(&place, dir.path().join("moved")).unwrap();
        std::os::unix::fs::symlink(&victim, &place).unwrap();
        let opened = rustix::fs::fstat(made.open().unwrap()).unwrap();
        assert_eq!(
            opened.st_ino,
            fs::metadata(dir.path().join("moved")).unwrap().ino()
        );
    }
}
