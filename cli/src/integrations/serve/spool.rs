//! Files that a server has accepted and that the next flush will save.
//!
//! The spool is a directory with three parts:
//!
//! - `uploads/` holds files that are still being received. A restart discards them.
//! - `open/` holds accepted files under their future names in the key.
//! - `sealed/` holds the files of the flush in progress. It is `open/`, renamed.
//!
//! Every file is synced before it is moved to `open/`, so acknowledged content survives a crash,
//! and the next flush of any server on this spool saves it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use cachefs::Error;
use cachefs::sys::lock::LockFile;
use parking_lot::RwLock;

/// The spool of one namespace.
pub(super) struct Spool {
    root: PathBuf,
    /// Read-locked while a file is moved to `open/`, write-locked while `open/` is sealed.
    sealing: RwLock<()>,
    next_upload: AtomicU64,
    /// Prevents a second server on this spool, which would seal our files.
    _lock: LockFile,
}

impl Spool {
    /// Opens the spool in a directory, and creates it if needed.
    ///
    /// # Errors
    ///
    /// A usage error if another server has it open.
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        let uploads = root.join("uploads");
        fs::create_dir_all(root).map_err(Error::io("create", root))?;
        let lock = LockFile::try_acquire(&root.join("lock")).map_err(|_| {
            Error::usage(
                format!("another server uses the spool {}", root.display()),
                "stop it first, or choose another --name or --store",
            )
        })?;
        match fs::remove_dir_all(&uploads) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("empty", &uploads)(error));
            }
            _ => {}
        }
        for directory in [&uploads, &root.join("open")] {
            fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        }
        Ok(Self {
            root: root.to_owned(),
            sealing: RwLock::new(()),
            next_upload: AtomicU64::new(0),
            _lock: lock,
        })
    }

    /// Creates an empty file to receive content.
    pub(super) fn begin_upload(&self) -> Result<SpooledUpload, Error> {
        let number = self.next_upload.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join("uploads").join(number.to_string());
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(Error::io("create", &path))?;
        Ok(SpooledUpload { file, path })
    }

    /// Creates a file with the given content.
    pub(super) fn write_upload(&self, bytes: &[u8]) -> Result<SpooledUpload, Error> {
        let mut upload = self.begin_upload()?;
        upload
            .file
            .write_all(bytes)
            .map_err(Error::io("write", &upload.path))?;
        Ok(upload)
    }

    /// Accepts files under their names, in this order, for one flush. When this returns, they
    /// survive a crash. If the process dies earlier, only a prefix of them may have been accepted.
    pub(super) fn accept(&self, files: Vec<(String, SpooledUpload)>) -> Result<(), Error> {
        for (_, SpooledUpload { file, path }) in &files {
            file.sync_all().map_err(Error::io("write", path))?;
        }
        let _open = self.sealing.read();
        let open = self.root.join("open");
        for (name, SpooledUpload { path, .. }) in &files {
            let target = open.join(name);
            let parent = target.parent().unwrap_or(&open);
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
            fs::rename(path, &target).map_err(Error::io("create", &target))?;
        }
        let parents: BTreeSet<_> = files
            .iter()
            .flat_map(|(name, _)| parents_of(&open, name))
            .collect();
        parents.iter().try_for_each(|parent| sync_directory(parent))
    }

    /// Opens the accepted file of a name; `None` if the spool has none.
    pub(super) fn find(&self, name: &str) -> Result<Option<File>, Error> {
        // In this order, because a seal moves files from the first directory to the second.
        for directory in ["open", "sealed"] {
            let path = self.root.join(directory).join(name);
            match File::open(&path) {
                Ok(file) if file.metadata().is_ok_and(|metadata| metadata.is_file()) => {
                    return Ok(Some(file));
                }
                Ok(_) => {}
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(Error::io("open", &path)(error)),
            }
        }
        Ok(None)
    }

    /// The names in a directory of accepted files, unordered and possibly with duplicates.
    pub(super) fn list(&self, name: &str) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for directory in ["open", "sealed"] {
            let path = self.root.join(directory).join(name);
            let entries = match fs::read_dir(&path) {
                Ok(entries) => entries,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(Error::io("read", &path)(error)),
            };
            for entry in entries {
                let entry = entry.map_err(Error::io("read", &path))?;
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    /// The directory to save: that of an earlier flush that failed, or else all files accepted so
    /// far. `None` if there is nothing to save.
    pub(super) fn seal(&self) -> Result<Option<PathBuf>, Error> {
        let _sealing = self.sealing.write();
        let (open, sealed) = (self.root.join("open"), self.root.join("sealed"));
        if sealed.exists() {
            return Ok(Some(sealed));
        }
        let mut entries = fs::read_dir(&open).map_err(Error::io("read", &open))?;
        if entries.next().is_none() {
            return Ok(None);
        }
        fs::rename(&open, &sealed).map_err(Error::io("rename", &open))?;
        fs::create_dir(&open).map_err(Error::io("create", &open))?;
        sync_directory(&self.root)?;
        Ok(Some(sealed))
    }

    /// Removes the sealed files after they are in the remote.
    pub(super) fn remove_sealed(&self) -> Result<(), Error> {
        let sealed = self.root.join("sealed");
        // Rename it first: after a crash, the next flush must not save half of the tree again.
        let number = self.next_upload.fetch_add(1, Ordering::Relaxed);
        let gone = self.root.join("uploads").join(format!("flushed-{number}"));
        fs::rename(&sealed, &gone).map_err(Error::io("rename", &sealed))?;
        fs::remove_dir_all(&gone).map_err(Error::io("remove", &gone))
    }
}

/// A file that is being received. Dropping it removes the file, unless it was accepted.
pub(super) struct SpooledUpload {
    file: File,
    path: PathBuf,
}

impl SpooledUpload {
    /// The file. It is positioned at its end as long as only [`io::Write`] is used.
    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// The path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SpooledUpload {
    fn drop(&mut self) {
        // Fails for an accepted file, which has been renamed.
        let _ = fs::remove_file(&self.path);
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The directories of a name, up to and including `top`; any of them may be new.
fn parents_of(top: &Path, name: &str) -> Vec<PathBuf> {
    let parents = Path::new(name).ancestors().skip(1);
    parents.map(|parent| top.join(parent)).collect()
}

fn sync_directory(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::io("sync", path))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn write(spool: &Spool, name: &str, bytes: &[u8]) {
        let upload = spool.write_upload(bytes).unwrap();
        spool.accept(vec![(name.to_owned(), upload)]).unwrap();
    }

    fn content(spool: &Spool, name: &str) -> Option<String> {
        let mut text = String::new();
        spool
            .find(name)
            .unwrap()?
            .read_to_string(&mut text)
            .unwrap();
        Some(text)
    }

    #[test]
    fn accepted_files_are_found_until_their_flush_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        assert_eq!(spool.seal().unwrap(), None);
        write(&spool, "a/b", b"first");
        let sealed = spool.seal().unwrap().unwrap();
        assert_eq!(fs::read(sealed.join("a/b")).unwrap(), b"first");
        assert_eq!(content(&spool, "a/b").unwrap(), "first");
        write(&spool, "a/b", b"second");
        write(&spool, "a/c", b"third");
        assert_eq!(content(&spool, "a/b").unwrap(), "second");
        // A failed flush is repeated with the same files.
        assert_eq!(spool.seal().unwrap().unwrap(), sealed);
        spool.remove_sealed().unwrap();
        assert_eq!(content(&spool, "a/b").unwrap(), "second");
        let mut names = spool.list("a").unwrap();
        names.sort();
        assert_eq!(names, ["b", "c"]);
        assert_eq!(content(&spool, "a"), None);
        assert_eq!(content(&spool, "x/y"), None);
    }

    #[test]
    fn a_restart_keeps_accepted_files_and_discards_uploads() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        write(&spool, "kept", b"1");
        let mut upload = spool.begin_upload().unwrap();
        upload.file().write_all(b"half").unwrap();
        assert!(Spool::open(dir.path()).is_err(), "one server at a time");
        std::mem::forget(upload);
        drop(spool);
        let spool = Spool::open(dir.path()).unwrap();
        assert_eq!(content(&spool, "kept").unwrap(), "1");
        assert_eq!(fs::read_dir(dir.path().join("uploads")).unwrap().count(), 0);
    }
}
