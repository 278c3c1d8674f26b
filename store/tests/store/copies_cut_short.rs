//! Copies that end early, because they are cancelled or the disk is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cachefs_store::progress::{Progress, Silent};
use cachefs_store::{Error, ErrorKind};
use cachefs_tests::tree::TreeSpec;

use super::copying::{copy_to, is_root, saved};

/// Cancels after a number of polls.
struct Impatient(AtomicU64);

impl Progress for Impatient {
    fn total(&self, _: u64, _: u64) {}
    fn done(&self, _: u64, _: u64) {}
    fn transferred(&self, _: u64) {}
    fn cancelled(&self) -> bool {
        self.0
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .is_err()
    }
}

/// Asserts that no file of a copy is truncated; returns the number of files.
pub(crate) fn no_file_is_half_written(source: &Path, target: &Path) -> usize {
    let mut files = 0;
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        for entry in fs::read_dir(target.join(&path)).unwrap() {
            let entry = entry.unwrap();
            let path = path.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                pending.push(path);
            } else {
                files += 1;
                let (copied, original) = (entry.path(), source.join(&path));
                assert!(
                    fs::read(copied).unwrap() == fs::read(original).unwrap(),
                    "{path:?}"
                );
            }
        }
    }
    files
}

#[test]
fn a_cancelled_copy_says_so_and_leaves_no_half_file() {
    let mut spec = TreeSpec::default();
    spec.file("large", 40 << 20, 1);
    for number in 0..300 {
        spec.file(format!("{number}"), 1000 * number, 2 + number);
    }
    let (bench, source, stack) = saved(&spec);
    let mut partial = 0;
    for (number, patience) in [0, 1, 5, 50, 200, 350].into_iter().enumerate() {
        let target = bench.directory(&format!("cancelled-{number}"));
        let outcome = copy_to(&bench, &stack, &target, &Impatient(patience.into()));
        assert!(
            matches!(outcome, Err(Error::Cancelled)),
            "after {patience}: {outcome:?}"
        );
        partial += usize::from(no_file_is_half_written(&source, &target) > 0);
    }
    assert!(partial > 0);
}

/// A mounted filesystem, unmounted on drop.
pub(crate) struct Small(pub(crate) PathBuf);

impl Small {
    fn mount(path: PathBuf) -> Option<Self> {
        let mount = ["-t", "tmpfs", "-o", "size=2m,nr_inodes=200", "none"];
        let mounted = Command::new("mount").args(mount).arg(&path).status().ok()?;
        mounted.success().then_some(Self(path))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_named_with_the_file() {
    if !is_root() {
        return;
    }
    let mut many = TreeSpec::default();
    (0..400).for_each(|number| {
        many.file(format!("{number}"), 10, number);
    });
    let mut large = TreeSpec::default();
    large.file("large", 40 << 20, 1);
    let mut medium = TreeSpec::default();
    medium.file("medium", 4 << 20, 1);
    for (number, spec) in [many, large, medium].iter().enumerate() {
        let (bench, source, stack) = saved(spec);
        let Some(small) = Small::mount(bench.directory(&format!("small-{number}"))) else {
            return;
        };
        let error = copy_to(&bench, &stack, &small.0, &Silent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Local);
        match &error {
            Error::Io { path, source, .. } => {
                // We detect too many bytes before writing anything, but too many files only when
                // one fails.
                assert!(path.starts_with(&small.0), "{path:?}");
                assert_eq!(path == &small.0, number > 0, "{path:?}");
                assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
            }
            other => panic!("{other:?}"),
        }
        no_file_is_half_written(&source, &small.0);
    }
}
