//! A path of a container, as it is on the host before the container has its root.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// How many symbolic links a path may lead through, as in the kernel.
const MOST_LINKS: usize = 40;

/// Where `path` of the container is below its root directory, with every symbolic link on the way
/// followed within that root, as the container itself would.
///
/// `seen` is what comes before `root` to look at it, such as `/proc/7/root` for the mounts of process
/// 7. The image made these links, and none of them may lead out of it.
///
/// # Errors
///
/// When links lead round in circles, or one cannot be read.
pub(super) fn in_root(seen: &Path, root: &Path, path: &Path) -> io::Result<PathBuf> {
    let steps = |path: &Path| {
        let steps = path.components().filter_map(|step| match step {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            _ => None,
        });
        steps.collect::<VecDeque<_>>()
    };
    let mut open = steps(path);
    let mut inside: Vec<OsString> = Vec::new();
    let mut links = 0;
    while let Some(step) = open.pop_front() {
        if step == ".." {
            // Above a root is the root.
            inside.pop();
            continue;
        }
        inside.push(step);
        let here = inside.iter().collect::<PathBuf>();
        let looked_at = below(seen, root).join(&here);
        let target = match std::fs::read_link(&looked_at) {
            Ok(target) => target,
            // No link, or not there yet.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::NotFound
                ) =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        links += 1;
        if links > MOST_LINKS {
            return Err(rustix::io::Errno::LOOP.into());
        }
        match target.is_absolute() {
            true => inside.clear(),
            false => drop(inside.pop()),
        }
        let rest = std::mem::replace(&mut open, steps(&target));
        open.extend(rest);
    }
    Ok(root.join(inside.iter().collect::<PathBuf>()))
}

/// An absolute path below another.
fn below(above: &Path, path: &Path) -> PathBuf {
    above.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_leads_out_of_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("rootfs");
        std::fs::create_dir_all(root.join("data/home")).unwrap();
        symlink("/data/home", root.join("root")).unwrap();
        symlink("../../../../etc", root.join("data/up")).unwrap();
        symlink("up/x", root.join("data/twice")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let at = |path: &str| in_root(Path::new("/"), &root, Path::new(path));
        assert_eq!(at("/root/.m2").unwrap(), root.join("data/home/.m2"));
        assert_eq!(at("/data/up/passwd").unwrap(), root.join("etc/passwd"));
        assert_eq!(at("/data/twice").unwrap(), root.join("etc/x"));
        assert_eq!(at("/../../x").unwrap(), root.join("x"));
        assert_eq!(at("/not/there").unwrap(), root.join("not/there"));
        assert!(at("/loop/x").is_err());
    }
}
