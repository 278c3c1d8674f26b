//! The directories of the store at which containers' caches are mounted, and which we empty later.
//!
//! All deletions go through this module, so that a mistake with a name elsewhere cannot delete a
//! directory of the host.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use cachefs::sys::mountinfo::MountTable;
use cachefs::{Error, StoreDir};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::name::check_name;

/// The folders of a store that hold such directories.
const FOLDERS: [&str; 2] = ["volumes", "containers"];

/// A directory below one of [`FOLDERS`].
#[derive(Debug)]
pub(super) struct VolumeDirectory {
    /// The parent directory, opened without following links below the folder.
    above: OwnedFd,
    name: OsString,
    path: PathBuf,
}

impl VolumeDirectory {
    /// Opens the directory at `path`, and creates its parents.
    ///
    /// The folder itself may be a link, for example to another disk; nothing below it may be one.
    ///
    /// # Errors
    ///
    /// A state error if `path` is not below the store's folders, is one of them, has a component
    /// that is not a [name](check_name), or passes through a symbolic link.
    pub(super) fn of(store: &StoreDir, path: &Path) -> Result<Self, Error> {
        let (folder, names) = split_folder(store, path).ok_or_else(|| outside_error(path))?;
        let (last, above) = names.split_last().ok_or_else(|| outside_error(path))?;
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let failed = |errno: Errno| match errno {
            Errno::LOOP | Errno::XDEV | Errno::NOTDIR => outside_error(path),
            errno => Error::io("open", path)(errno.into()),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at = rustix::fs::openat(CWD, &folder, flags, Mode::empty()).map_err(failed)?;
        for name in above {
            match rustix::fs::mkdirat(&at, *name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            at = rustix::fs::openat2(&at, *name, flags, Mode::empty(), resolve).map_err(failed)?;
        }
        // If an entry cannot be examined, it is a mount whose daemon is gone, not a link.
        let found = rustix::fs::statat(&at, *last, AtFlags::SYMLINK_NOFOLLOW);
        if found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink) {
            return Err(outside_error(path));
        }
        Ok(Self {
            above: at,
            name: (*last).to_owned(),
            path: path.to_owned(),
        })
    }

    /// Removes the contents of the directory; the directory itself stays.
    ///
    /// # Errors
    ///
    /// If there is a mount at or below it, and if an entry cannot be removed.
    pub(super) fn empty(&self) -> Result<(), Error> {
        let table = MountTable::read().map_err(Error::io("read", "/proc/self/mountinfo"))?;
        // The kernel's mount list has resolved paths, but the folder may be a link.
        let above = format!("/proc/self/fd/{}", self.above.as_raw_fd());
        let real = fs::read_link(above).map_err(Error::io("find", &self.path))?;
        let real = real.join(&self.name);
        let mut mounts = table.entries().iter();
        if let Some(mount) = mounts.find(|mount| mount.mount_point.starts_with(&real)) {
            return Err(Error::State {
                message: format!(
                    "something else is mounted at {}",
                    mount.mount_point.display()
                ),
                hint: "unmount it".into(),
            });
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::openat(&self.above, &self.name, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(Error::io("open", &self.path)(errno.into())),
        };
        // Use the descriptor, because the path could have been replaced by now.
        let here = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        for entry in fs::read_dir(&here).map_err(Error::io("read", &self.path))? {
            let entry = entry.map_err(Error::io("read", &self.path))?;
            let removed = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(entry.path()),
                _ => fs::remove_file(entry.path()),
            };
            let shown = self.path.join(entry.file_name());
            removed.map_err(Error::io("remove", shown))?;
        }
        Ok(())
    }

    /// Removes the directory, which must be empty. A missing directory is no error.
    ///
    /// # Errors
    ///
    /// If it is not empty, or is a mount point.
    pub(super) fn remove(&self) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.above, &self.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::io("remove", &self.path)(io::Error::from(errno))),
        }
    }
}

/// Splits `path` into its folder and the names below it.
fn split_folder<'a>(store: &StoreDir, path: &'a Path) -> Option<(PathBuf, Vec<&'a OsStr>)> {
    let folders = FOLDERS.iter().map(|folder| store.path().join(folder));
    folders.into_iter().find_map(|folder| {
        let below = path.strip_prefix(&folder).ok()?;
        let names = below.components().map(|part| match part {
            Component::Normal(name) => check_name(name.to_str()?).ok().map(|()| name),
            _ => None,
        });
        Some((folder, names.collect::<Option<_>>()?))
    })
}

fn outside_error(path: &Path) -> Error {
    Error::State {
        message: format!(
            "{} is not a directory for volumes or containers in the store",
            path.display()
        ),
        hint: "only directories below `volumes` and `containers` of the store, without links on \
               the way, are shown and emptied"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn store() -> (tempfile::TempDir, StoreDir) {
        let temp = tempfile::tempdir().unwrap();
        let store =
            StoreDir::open(&temp.path().join("store"), "/bin/true".into(), 1 << 20).unwrap();
        (temp, store)
    }

    #[test]
    fn nothing_outside_of_the_store_is_emptied() {
        let (temp, store) = store();
        let host = temp.path().join("host");
        fs::create_dir_all(host.join("sub")).unwrap();
        fs::write(host.join("sub/file"), "keep").unwrap();
        let volumes = store.path().join("volumes");
        fs::create_dir_all(volumes.join("v")).unwrap();
        fs::create_dir_all(store.path().join("packs/v")).unwrap();
        symlink(&host, volumes.join("link")).unwrap();
        symlink(&host, volumes.join("v/data")).unwrap();
        let inside = |path: &str| volumes.join(path);
        for path in [
            host.clone(),
            PathBuf::from("/"),
            store.path().to_owned(),
            store.path().join("packs/v"),
            volumes.clone(),
            inside(".."),
            inside("../../host"),
            inside("v/../../../host"),
            inside("link"),
            inside("link/sub"),
            inside("v/data"),
            inside("v/data/sub"),
            inside("/etc"),
        ] {
            assert!(
                VolumeDirectory::of(&store, &path).is_err(),
                "{}",
                path.display()
            );
        }
        assert_eq!(fs::read(host.join("sub/file")).unwrap(), b"keep");
    }

    #[test]
    fn a_directory_of_the_store_is_emptied_without_following_its_links() {
        let (temp, store) = store();
        let host = temp.path().join("host");
        fs::create_dir(&host).unwrap();
        fs::write(host.join("file"), "keep").unwrap();
        // An administrator may link the folder to a larger disk.
        let disk = temp.path().join("disk");
        fs::create_dir(&disk).unwrap();
        symlink(&disk, store.path().join("containers")).unwrap();
        let path = store.path().join("containers/c1/m2");
        let place = VolumeDirectory::of(&store, &path).unwrap();
        fs::create_dir_all(path.join("deep/er")).unwrap();
        fs::write(path.join("deep/file"), "x").unwrap();
        symlink(&host, path.join("link")).unwrap();
        symlink(&host, path.join("deep/link")).unwrap();
        place.empty().unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        place.remove().unwrap();
        place.remove().unwrap();
        place.empty().unwrap();
        assert!(!disk.join("c1/m2").exists());
        assert_eq!(fs::read(host.join("file")).unwrap(), b"keep");
    }
}
