//! The directory that a cache is restored to.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use cachefs_store::stack::Owner;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::paths::real_path;

/// The canonical path, a directory. What of it is not there is made, and given to `owner`: a build
/// that runs as that user writes next to its cache, too.
pub(super) fn prepare(path: &Path, owner: Option<Owner>) -> Result<PathBuf> {
    let path = real_path(path);
    match fs::metadata(&path) {
        Ok(metadata) if !metadata.is_dir() => Err(Error::usage(
            format!("{} is a file", path.display()),
            "name the directory that the cache belongs in",
        )),
        Ok(_) => Ok(path),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make(&path, owner)?;
            Ok(path)
        }
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            Err(Error::io("find", path)(error))
        }
        // A dead mount answers with ENOTCONN and the like; its own path is the canonical one.
        Err(_) => Ok(path),
    }
}

fn make(path: &Path, owner: Option<Owner>) -> Result<()> {
    let is_absent = |path: &&Path| !path.as_os_str().is_empty() && path.symlink_metadata().is_err();
    let absent: Vec<_> = path.ancestors().take_while(is_absent).collect();
    fs::create_dir_all(path).map_err(Error::io("create", path))?;
    let Some(Owner { uid, gid }) = owner else {
        return Ok(());
    };
    for made in absent {
        match chown(made, Some(uid), Some(gid)) {
            // Who may not give directories away says so where it matters: at the files.
            Err(error) if error.kind() != ErrorKind::PermissionDenied => {
                return Err(Error::io("give away", made)(error));
            }
            _ => {}
        }
    }
    Ok(())
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
        let made = prepare(&root.join("./x/../.m2/repository/"), None).unwrap();
        assert_eq!(made, root.join("data/m2/repository"));
        assert!(made.is_dir() && !root.join("x").exists());
        std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
        assert!(prepare(&root.join("loop"), None).is_err());
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
        let made = prepare(&path, Some(owner)).unwrap();
        assert!(made.ends_with("home/.m2/repository"));
        let owner_of = |path: &Path| {
            let metadata = fs::metadata(path).unwrap();
            (metadata.uid(), metadata.gid())
        };
        assert_eq!(owner_of(&path), (7, 8));
        assert_eq!(owner_of(&dir.path().join("home/.m2")), (7, 8));
        assert_eq!(owner_of(&dir.path().join("home")), (0, 0));
    }
}
