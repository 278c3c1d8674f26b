//! Facts about a git work tree, read from its files without running git.

use std::fs;
use std::path::{Path, PathBuf};

/// The remote's default branch at the time of the clone: the target of `origin/HEAD`.
///
/// Shallow clones of CI systems often lack it.
pub(super) fn default_branch(workspace: &Path) -> Option<String> {
    let common = common_dir(&git_dir(workspace)?);
    let head = fs::read_to_string(common.join("refs/remotes/origin/HEAD")).ok()?;
    let branch = head.trim().strip_prefix("ref: refs/remotes/origin/")?;
    (!branch.is_empty()).then(|| branch.to_owned())
}

/// The `.git` of the work tree that contains a directory.
fn git_dir(workspace: &Path) -> Option<PathBuf> {
    workspace.ancestors().find_map(|dir| {
        let git = dir.join(".git");
        let metadata = fs::metadata(&git).ok()?;
        if metadata.is_dir() {
            return Some(git);
        }
        // In a linked work tree or a submodule, `.git` is a file with the path.
        let text = fs::read_to_string(&git).ok()?;
        Some(dir.join(text.strip_prefix("gitdir:")?.trim()))
    })
}

/// The directory shared by all linked work trees.
fn common_dir(git: &Path) -> PathBuf {
    fs::read_to_string(git.join("commondir"))
        .map_or_else(|_| git.to_owned(), |text| git.join(text.trim()))
}
