//! Looking for the directories that a pattern matches.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use globset::GlobSet;

use super::exclude::Exclusions;
use crate::error::{Error, Result};
use crate::store_dir::StoreDir;

/// Adds the directories below `root`, and `root` itself, that match.
///
/// A directory that matches is not looked into: it is cached as a whole. Nor is one that is left
/// out, nor `.git`, nor a local store. Links are not followed, and directories that may not be read are passed over,
/// as a build that cannot read them did not fill them.
pub(super) fn find_directories(
    root: &Path,
    glob: &GlobSet,
    exclusions: &Exclusions,
    found: &mut Vec<PathBuf>,
) -> Result<()> {
    if !root.is_dir() {
        return Ok(());
    }
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        if exclusions.covers(&directory) || StoreDir::is_at(&directory) {
            continue;
        }
        if glob.is_match(&directory) {
            found.push(directory);
            continue;
        }
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::NotFound
                ) =>
            {
                continue;
            }
            Err(error) => return Err(Error::io("read", &directory)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &directory))?;
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory && entry.file_name() != ".git" {
                pending.push(entry.path());
            }
        }
    }
    Ok(())
}
