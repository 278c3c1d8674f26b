//! Removes mounts that a killed `exec` left behind.
//!
//! A running `exec` holds a lock on a file that lists its restored paths. The kernel releases the
//! lock when the process exits, even if it is killed. So an unlocked file belongs to a dead
//! process.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cachefs::StoreDir;
use cachefs::mounts::unmount_keeping_changes;
use cachefs::restore::UnsavedChanges;
use cachefs_store::id::SaveId;

/// A path that a killed `exec` left mounted.
#[derive(Debug)]
pub(crate) struct Leftover {
    /// The path, which is unmounted now.
    pub(crate) path: PathBuf,
    /// Its unsaved changes, if any.
    pub(crate) unsaved: Option<UnsavedChanges>,
}

/// The paths of an `exec` while it runs.
pub(crate) struct Claim {
    path: PathBuf,
    /// The locked file.
    file: File,
}

impl Claim {
    /// Claims paths for this process.
    pub(crate) fn new(store: &StoreDir, paths: &[PathBuf]) -> anyhow::Result<Self> {
        let dir = claims_directory(store);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let name = SaveId::now().to_string();
        let path = dir.join(&name);
        let list = claim_bytes(paths.iter().map(PathBuf::as_path));
        // Rename it only once it is locked; before that it would look abandoned.
        let hidden = dir.join(format!(".{name}"));
        let write = || -> std::io::Result<File> {
            let mut file = File::create_new(&hidden)?;
            file.lock()?;
            file.write_all(&list)?;
            fs::rename(&hidden, &path)?;
            Ok(file)
        };
        let file = write().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file })
    }

    /// Adds paths to the claim.
    pub(crate) fn add<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) -> anyhow::Result<()> {
        self.file
            .write_all(&claim_bytes(paths))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Unmounts the paths of killed processes. Their changes are moved to `unsaved/` in the store.
    ///
    /// A path stays mounted if it is in use, for example by a command that outlived its `exec`, or
    /// if its changes cannot be moved.
    pub(crate) fn clear(store: &StoreDir) -> Vec<Leftover> {
        let files = fs::read_dir(claims_directory(store))
            .into_iter()
            .flatten()
            .flatten();
        let mut cleared = Vec::new();
        for file in files {
            if file.file_name().as_bytes().starts_with(b".") {
                continue;
            }
            let Some(paths) = abandoned_paths(&file.path()) else {
                continue;
            };
            let mut is_clear = true;
            // Inner mounts first.
            for path in paths.into_iter().rev() {
                match unmount_keeping_changes(store, &path, false) {
                    Ok(unsaved) => cleared.push(Leftover { path, unsaved }),
                    // Never mounted, or unmounted since.
                    Err(error) if error.kind() == cachefs_store::ErrorKind::Usage => {}
                    Err(error) => {
                        tracing::info!("{}", cachefs::describe_chain(&error));
                        is_clear = false;
                    }
                }
            }
            if is_clear {
                // Another command may have removed it already.
                let _ = fs::remove_file(file.path());
            }
        }
        cleared
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // If it cannot be removed, the next `exec` cleans it up.
        let _ = fs::remove_file(&self.path);
    }
}

/// Encodes paths for a claim's file.
fn claim_bytes<'a>(paths: impl Iterator<Item = &'a Path>) -> Vec<u8> {
    let mut list = Vec::new();
    for path in paths {
        list.extend_from_slice(path.as_os_str().as_bytes());
        list.push(0);
    }
    list
}

fn claims_directory(store: &StoreDir) -> PathBuf {
    store.path().join("exec")
}

/// The paths of a claim whose process is dead; `None` if it still runs.
fn abandoned_paths(file: &Path) -> Option<Vec<PathBuf>> {
    let mut file = File::open(file).ok()?;
    file.try_lock().ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let paths = bytes
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty())
        .map(|path| PathBuf::from(std::ffi::OsString::from_vec(path.to_vec())));
    Some(paths.collect())
}
