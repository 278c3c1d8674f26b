//! The directory that a path means, whether or not it exists yet.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Symbolic links followed before a path counts as a loop; the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Returns the absolute path without symbolic links, `.` and `..`.
///
/// Unlike [`Path::canonicalize`], this also works for a directory that a restore has yet to create:
/// missing components keep their names, and a dangling link counts as its target. So two spellings
/// of one directory are equal before and after the restore. A component that cannot be read, such as
/// a dead mount, counts as a plain name. A loop of links is returned as it was written.
pub fn real_path(path: &Path) -> PathBuf {
    let Ok(written) = std::path::absolute(path) else {
        // Only a relative path fails: the working directory has been deleted.
        return path.to_owned();
    };
    let mut pending = path_steps(&written);
    let mut real = PathBuf::from("/");
    let mut links = 0;
    while let Some(step) = pending.pop_front() {
        if step == ".." {
            real.pop();
            continue;
        }
        real.push(&step);
        let Ok(target) = std::fs::read_link(&real) else {
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return written;
        }
        real.pop();
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        let rest = std::mem::replace(&mut pending, path_steps(&target));
        pending.extend(rest);
    }
    real
}

/// The names and `..` of a path.
fn path_steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_has_one_path_before_and_after_it_exists() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("ws/web")).unwrap();
        symlink("ws", root.join("logical")).unwrap();
        symlink("web", root.join("ws/alias")).unwrap();
        symlink("web/node_modules", root.join("ws/nm")).unwrap();
        symlink(root.join("ws/nm"), root.join("ws/far")).unwrap();
        let spellings = [
            "ws/web/node_modules",
            "ws/./web//node_modules/",
            "ws/web/../web/node_modules",
            "ws/missing/../web/node_modules",
            "logical/alias/node_modules",
            "logical/nm",
            "logical/far/",
            "ws/nm/../node_modules",
        ];
        let expected = root.join("ws/web/node_modules");
        for exists in [false, true] {
            for spelling in spellings {
                assert_eq!(real_path(&root.join(spelling)), expected, "{spelling}");
            }
            if !exists {
                fs::create_dir(&expected).unwrap();
            }
        }
    }

    #[test]
    fn the_root_has_no_parent_and_a_loop_ends() {
        assert_eq!(real_path(Path::new("/../..")), Path::new("/"));
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert_eq!(real_path(&dir.path().join("a/x")), dir.path().join("a/x"));
    }
}
