//! The working directory, when a cache is mounted over it or over a parent directory.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use cachefs::paths::real_path;

use crate::caches::{RestoredDirectory, SavedDirectory};
use crate::output;

/// The path of the working directory, if that path now leads to another directory.
///
/// A process whose working directory is covered by a new mount stays in the old directory, and so
/// does the shell that started it: neither sees the cache, and files written there are not saved.
pub(crate) fn covered_directory() -> Option<PathBuf> {
    let path = std::env::current_dir().ok()?;
    let here = fs::metadata(".").ok()?;
    let is_here = fs::metadata(&path)
        .is_ok_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino()));
    (!is_here).then_some(path)
}

/// Advice for the user's shell, if a restore covered the working directory.
pub(crate) fn note_to_enter(restored: &[RestoredDirectory]) -> Option<String> {
    let path = covered_directory()?;
    let reports = restored.iter().filter_map(|one| one.result.as_ref().ok());
    let around = reports.filter(|report| path.starts_with(&report.path));
    let nearest = around.max_by_key(|report| report.path.components().count())?;
    Some(format!(
        "the working directory is below the mount at {}: run `cd .` in this shell to enter the \
         cache; until then the shell does not see it, and files written here are not saved",
        output::format_path(&nearest.path)
    ))
}

/// Advises the user to enter a mount that `exec` left mounted.
pub(crate) fn tell_to_enter(restored: &[RestoredDirectory]) {
    if let Some(note) = note_to_enter(restored) {
        output::print_error("warning", &note, None);
    }
}

/// Warns that files written below the saved mount, in the old directory, are not in the cache.
pub(crate) fn warn_of_save(saved: &[SavedDirectory]) {
    let Some(path) = covered_directory() else {
        return;
    };
    let around = saved
        .iter()
        .find(|one| path.starts_with(real_path(&one.path)));
    if let Some(one) = around {
        output::print_error(
            "warning",
            &format!(
                "the working directory is below the mount at {}: files that this shell wrote here \
                 by relative names are not in the cache",
                output::format_path(&one.path)
            ),
            Some("run `cd .` after the restore to enter the mount"),
        );
    }
}
