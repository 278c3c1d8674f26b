//! The directory that a cache is restored to.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use cachefs_store::stack::Owner;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::paths::real_path;

/// The canonical path, which is a directory or not there yet. Nothing is made: a miss leaves the path as
/// it was, so that a save after it can tell that nothing was put there.
pub(super) fn find(path: &Path) -> Result<PathBuf> {
    let path = real_path(path);
    match fs::metadata(&path) {
        Ok(metadata) if !metadata.is_dir() => Err(Error::usage(
            format!("{} is a file", path.display()),
            "name the directory that the cache belongs in",
        )),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            Err(Error::io("find", path)(error))
        }
        // A dead mount answers with ENOTCONN and the like; its own path is the canonical one.
        _ => Ok(path),
    }
}

/// Directories that were made for a cache, and go again if nothing comes into them.
#[derive(Debug, Default)]
pub struct MadeDirectories(Vec<PathBuf>);

impl MadeDirectories {
    /// Makes what of a path is not there, and gives it to `owner`: a build that runs as that user
    /// writes next to its cache, too.
    ///
    /// # Errors
    ///
    /// When a directory cannot be made or given away; then none is left.
    pub fn make(path: &Path, owner: Option<Owner>) -> Result<Self> {
        let is_absent =
            |path: &&Path| !path.as_os_str().is_empty() && path.symlink_metadata().is_err();
        let absent = path.ancestors().take_while(is_absent).map(Path::to_owned);
        let made = Self(absent.collect());
        let outcome = fs::create_dir_all(path).map_err(Error::io("create", path));
        let outcome = outcome.and_then(|()| owner.map_or(Ok(()), |owner| made.give_to(owner)));
        match outcome {
            Ok(()) => Ok(made),
            Err(error) => {
                made.remove();
                Err(error)
            }
        }
    }

    fn give_to(&self, Owner { uid, gid }: Owner) -> Result<()> {
        for made in &self.0 {
            match chown(made, Some(uid), Some(gid)) {
                // A user who may not give directories away is told so at the files.
                Err(error) if error.kind() != ErrorKind::PermissionDenied => {
                    return Err(Error::io("give away", made)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the directories, as far as they are empty.
    pub fn remove(&self) {
        for made in &self.0 {
            if fs::remove_dir(made).is_err() {
                return;
            }
        }
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
        let made = find(&root.join("./x/../.m2/repository/")).unwrap();
        MadeDirectories::make(&made, None).unwrap();
        assert_eq!(made, root.join("data/m2/repository"));
        assert!(made.is_dir() && !root.join("x").exists());
        std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
        assert!(find(&root.join("loop")).is_err());
    }

    #[test]
    fn only_what_was_not_there_is_given_away() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root gives directories away");
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
}
