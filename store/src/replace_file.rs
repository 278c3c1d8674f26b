//! Replacing small files atomically.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::id::PackId;

/// Whether a replaced file must survive a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The file may be lost or torn after a power failure. Readers verify the content, or treat a
    /// file that they cannot parse as missing.
    Volatile,
    /// The new content is on the disk when the call returns: the file and its directory entry are
    /// synced.
    Synced,
}

/// Writes `bytes` to a temporary file beside `path` and renames it to `path`, so that readers see
/// the old content or the new one, and a full disk or a killed process leaves the old one.
///
/// Concurrent calls for one path are safe; the last rename wins.
///
/// # Errors
/// The file cannot be written or renamed. The temporary file is removed, and `path` is unchanged.
///
/// # Examples
/// ```
/// use cachefs_store::replace_file::{Durability, replace_file};
///
/// # let directory = tempfile::tempdir()?;
/// let path = directory.path().join("state.json");
/// replace_file(&path, b"{}", Durability::Synced)?;
/// assert_eq!(std::fs::read(&path)?, b"{}");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn replace_file(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", PackId::random()));
    let temporary = PathBuf::from(temporary);
    write_and_rename(&temporary, path, bytes, durability).inspect_err(|_| {
        // The error of the write is the one to report.
        let _ = fs::remove_file(&temporary);
    })
}

fn write_and_rename(
    temporary: &Path,
    path: &Path,
    bytes: &[u8],
    durability: Durability,
) -> io::Result<()> {
    let mut file = File::create_new(temporary)?;
    file.write_all(bytes)?;
    if durability == Durability::Synced {
        file.sync_all()?;
    }
    fs::rename(temporary, path)?;
    if durability == Durability::Synced {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_leaves_the_old_file_and_no_temporary_file() {
        let directory = tempfile::tempdir().unwrap();
        let occupied = directory.path().join("occupied");
        fs::create_dir(&occupied).unwrap();
        assert!(replace_file(&occupied, b"new", Durability::Volatile).is_err());
        let names: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["occupied"]);
    }
}
