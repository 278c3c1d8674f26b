//! Checks which users can change a directory.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// Write permission of users other than owner and group.
const OTHERS_WRITE: u32 = 0o002;
/// Only owners may rename and remove entries of the directory.
const STICKY: u32 = 0o1000;

/// Creates a directory that only this user can enter, with its parents. An existing one is kept as
/// it is, unless it belongs to this user, is empty, and is open to others: then its permissions are
/// reduced.
///
/// # Errors
/// Those of the system.
pub fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let found = std::fs::metadata(path)?;
    let is_own = found.uid() == rustix::process::geteuid().as_raw();
    if is_own && found.mode() & OTHERS_WRITE != 0 && std::fs::read_dir(path)?.next().is_none() {
        std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Whether any user can replace entries of a directory.
///
/// # Errors
/// Those of the system.
pub fn others_can_replace(directory: &Path) -> io::Result<bool> {
    let mode = std::fs::metadata(directory)?.mode();
    Ok(mode & OTHERS_WRITE != 0 && mode & STICKY == 0)
}

/// Whether any user can add entries to a directory.
///
/// # Errors
/// Those of the system.
pub fn others_can_add(directory: &Path) -> io::Result<bool> {
    Ok(std::fs::metadata(directory)?.mode() & OTHERS_WRITE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn directories_open_to_all_are_told_and_empty_ones_closed() {
        let temp = tempfile::tempdir().unwrap();
        let set = |bits| std::fs::set_permissions(temp.path(), Permissions::from_mode(bits));
        for (bits, add, replace) in [
            (0o700, false, false),
            (0o775, false, false),
            (0o1777, true, false),
            (0o777, true, true),
        ] {
            set(bits).unwrap();
            assert_eq!(others_can_add(temp.path()).unwrap(), add, "{bits:o}");
            assert_eq!(
                others_can_replace(temp.path()).unwrap(),
                replace,
                "{bits:o}"
            );
        }
        let new = temp.path().join("a/b");
        make_private_dir(&new).unwrap();
        assert_eq!(mode(&new), 0o700);
        make_private_dir(temp.path()).unwrap();
        assert_eq!(mode(temp.path()), 0o777, "it has content");
        std::fs::remove_dir_all(temp.path().join("a")).unwrap();
        make_private_dir(temp.path()).unwrap();
        assert_eq!(mode(temp.path()), 0o700);
    }
}
