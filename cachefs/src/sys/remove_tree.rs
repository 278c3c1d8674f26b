//! Removing a directory with all below it, also where its owner made directories read-only.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Permissions that an owner needs to list and empty a directory.
const EMPTY: u32 = 0o700;

/// Removes a directory with its contents; links are not followed. A missing directory is not an
/// error.
///
/// Root needs no permissions for this. Other users need those of the directories, which tools such
/// as Go remove from their own caches (mode 0555). If a removal fails for that reason, the
/// permissions are added first.
///
/// # Errors
///
/// Those of the removal; a part of the tree may be gone.
pub fn remove_tree(directory: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            make_writable(directory);
            fs::remove_dir_all(directory)
        }
        other => other,
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Gives the owner all rights to a directory and those below it. The removal reports failures.
fn make_writable(directory: &Path) {
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        let Ok(metadata) = fs::symlink_metadata(&directory) else {
            continue;
        };
        let mode = metadata.permissions().mode();
        if mode & EMPTY != EMPTY {
            let _ = fs::set_permissions(&directory, Permissions::from_mode(mode | EMPTY));
        }
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        pending.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only_directories_are_made_writable_for_their_removal() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o555)).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        fs::write(tree.join("a/b/file"), "").unwrap();
        for directory in ["a/b", "a", ""] {
            fs::set_permissions(tree.join(directory), Permissions::from_mode(0o555)).unwrap();
        }
        // Permissions do not restrict root, so we test this step separately.
        make_writable(&tree);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&tree.join("a/b")), 0o755);
        assert_eq!(mode(&outside), 0o555);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && outside.exists());
        remove_tree(&tree).unwrap();
    }
}
