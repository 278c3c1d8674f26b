//! Directories that a copy that failed leaves as they were.

use std::fs;
use std::path::Path;

/// Whether there is nothing in a directory.
pub(super) fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// Removes everything in a directory that was empty before. What cannot be removed stays: the
/// failure that led here is the one to report.
pub(super) fn clear(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
            _ => fs::remove_file(&path),
        };
        if let Err(error) = removed {
            tracing::warn!("{} stays half copied: {error}", path.display());
        }
    }
}
