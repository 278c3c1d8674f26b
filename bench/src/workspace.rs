//! The work directory, and its removal on every exit path.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, unmount};

use crate::mounts;

/// A temporary directory, removed recursively on drop.
#[derive(Debug)]
pub(crate) struct Workspace(PathBuf);

impl Workspace {
    /// Creates the directory below `parent`, or below the directory for temporary files.
    pub(crate) fn create(parent: Option<&Path>) -> Result<Self> {
        let parent = parent.map_or_else(env::temp_dir, Path::to_owned);
        // Canonicalize: mount tables contain real paths, and child programs have other working
        // directories.
        let made = parent.canonicalize().and_then(|parent| {
            let dir = tempfile::Builder::new()
                .prefix("cachefs-bench-")
                .tempdir_in(parent)?;
            Ok(dir.keep())
        });
        let dir = made.with_context(|| format!("could not work in {}", parent.display()))?;
        Ok(Self(dir))
    }

    /// The absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Creates an empty directory with this name, replacing an existing one.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let dir = self.0.join(name);
        remove_directory(&dir)?;
        fs::create_dir(&dir)?;
        Ok(dir)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Err(error) = remove_directory(&self.0) {
            eprintln!("cachefs-bench: could not clean up: {error:#}");
        }
    }
}

/// Unmounts everything below a directory, then removes it. A missing directory is fine.
pub(crate) fn remove_directory(dir: &Path) -> Result<()> {
    // Unmount innermost first, which are last in the table. A deletion must never pass through a
    // mount.
    for point in mounts::mounts_below(dir)?.iter().rev() {
        unmount(point, UnmountFlags::DETACH)
            .with_context(|| format!("could not unmount {}", point.display()))?;
    }
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a file. A missing file is fine.
pub(crate) fn remove_file(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left() {
        let workspace = Workspace::create(None).unwrap();
        let path = workspace.path().to_owned();
        let dir = workspace.fresh("dir").unwrap();
        fs::write(dir.join("file"), "").unwrap();
        let again = workspace.fresh("dir").unwrap();
        assert_eq!(fs::read_dir(again).unwrap().count(), 0);
        drop(workspace);
        assert!(!path.exists());
        remove_directory(&path).unwrap();
    }
}
