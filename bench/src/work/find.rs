//! `ls` and `find`: the cost to list a directory, and to `lstat` every entry of a tree.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fs::{AtFlags, FileType, statat};

use super::WorkTotals;
use super::dir::{Lister, WorkEntryKind, open_dir, open_root};
use crate::interrupt;

/// Lists one directory by names only, like `ls`.
pub(crate) fn list_directory(dir: &Path) -> Result<Duration> {
    let start = Instant::now();
    let listed = open_root(dir)
        .map_err(Into::into)
        .and_then(|fd| Lister::new().list(fd));
    let wall = start.elapsed();
    let entries = listed.with_context(|| format!("could not list {}", dir.display()))?;
    ensure!(!entries.is_empty(), "{} is empty", dir.display());
    Ok(wall)
}

/// Lists every directory of a tree and calls `lstat` on every entry, like `find`.
pub(crate) fn find_tree(root: &Path) -> Result<(Duration, WorkTotals)> {
    let start = Instant::now();
    let mut totals = WorkTotals::default();
    let walked = walk_root(root, &mut totals);
    let wall = start.elapsed();
    walked.with_context(|| format!("could not walk {}", root.display()))?;
    Ok((wall, totals))
}

fn walk_root(root: &Path, totals: &mut WorkTotals) -> std::io::Result<()> {
    walk_directory(open_root(root)?.as_fd(), &mut Lister::new(), totals)
}

fn walk_directory(
    dir: BorrowedFd<'_>,
    lister: &mut Lister,
    totals: &mut WorkTotals,
) -> std::io::Result<()> {
    interrupt::check_io()?;
    let mut below = Vec::new();
    for entry in lister.list(dir)? {
        let stat = statat(dir, &entry.name, AtFlags::SYMLINK_NOFOLLOW)?;
        totals.entries += 1;
        match WorkEntryKind::of(FileType::from_raw_mode(stat.st_mode)) {
            WorkEntryKind::Directory => below.push(entry.name),
            WorkEntryKind::File => {
                totals.files += 1;
                totals.bytes += stat.st_size.cast_unsigned();
            }
            WorkEntryKind::Symlink | WorkEntryKind::Special => {}
        }
    }
    for name in below {
        walk_directory(open_dir(dir, &name)?.as_fd(), lister, totals)?;
    }
    Ok(())
}

/// A representative file: the middle one of the non-empty files, sorted by path.
///
/// The path is relative to the root. Returns `None` if every file is empty or there are none.
pub(crate) fn typical_file(root: &Path) -> Result<Option<PathBuf>> {
    let mut files = Vec::new();
    let mut below = vec![root.to_owned()];
    while let Some(dir) = below.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                below.push(entry.path());
            } else if kind.is_file() && entry.metadata()?.len() > 0 {
                files.push(entry.path());
            }
        }
    }
    let middle = files.len() / 2;
    if files.is_empty() {
        return Ok(None);
    }
    let (_, file, _) = files.select_nth_unstable(middle);
    Ok(Some(file.strip_prefix(root)?.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_entry_is_counted_and_links_are_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/one"), "1").unwrap();
        fs::write(root.join("a/b/three"), "333").unwrap();
        fs::write(root.join("a/empty"), "").unwrap();
        symlink("a", root.join("link")).unwrap();
        let (_, totals) = find_tree(root).unwrap();
        let wanted = WorkTotals {
            entries: 6,
            files: 3,
            bytes: 4,
        };
        assert_eq!(totals, wanted);
        let typical = typical_file(root).unwrap().unwrap();
        assert_eq!(typical, Path::new("a/one"));
        find_tree(&root.join("none")).unwrap_err();
    }

    #[test]
    fn a_directory_of_many_names_is_listed_whole() {
        let temp = tempfile::tempdir().unwrap();
        for number in 0..3000 {
            fs::write(
                temp.path().join(format!("a-name-of-some-length-{number}")),
                "",
            )
            .unwrap();
        }
        let (_, totals) = find_tree(temp.path()).unwrap();
        assert_eq!(
            (totals.entries, totals.files, totals.bytes),
            (3000, 3000, 0)
        );
        list_directory(temp.path()).unwrap();
        list_directory(&tempfile::tempdir().unwrap().path().join("none")).unwrap_err();
    }
}
