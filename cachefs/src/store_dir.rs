//! The store directory: what is where in it, and who may use it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::sys::lock::LockFile;
use crate::sys::spawn::DetachedCommand;

/// The version of the directory's layout.
const FORMAT: u32 = 1;

/// A local store directory.
///
/// It holds copies and state of this machine only; deleting it loses nothing that was saved, save
/// for the embedded remote, which is a directory in it.
#[derive(Debug, Clone)]
pub struct StoreDir {
    path: PathBuf,
    exe: PathBuf,
    cache_limit: u64,
}

impl StoreDir {
    /// Opens a store directory, creating it when it is not there.
    ///
    /// `exe` is the program whose `daemon run` is the daemon, and `cache_limit` the limit of the
    /// local cache of frames, in bytes, for this process and a daemon that it starts.
    pub fn open(path: &Path, exe: PathBuf, cache_limit: u64) -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(Error::io("create", path))?;
        let path = path.canonicalize().map_err(Error::io("open", path))?;
        let store = Self {
            path,
            exe,
            cache_limit,
        };
        store.check_format()?;
        Ok(store)
    }

    fn check_format(&self) -> Result<()> {
        let file = self.path.join("format");
        match fs::read_to_string(&file) {
            Ok(text) => match text.trim().parse::<u32>() {
                Ok(version) if version <= FORMAT => Ok(()),
                Ok(version) => Err(Error::usage(
                    format!(
                        "the store directory {} has format {version}; this cachefs knows {FORMAT}",
                        self.path.display()
                    ),
                    "update cachefs, or choose another --store",
                )),
                Err(_) => Err(Error::usage(
                    format!("{} is not the format of a store directory", file.display()),
                    "choose another --store",
                )),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // A full disk must not leave an empty file, which no later command would accept.
                let new = self.path.join(format!("format.{}", std::process::id()));
                fs::write(&new, format!("{FORMAT}\n"))
                    .and_then(|()| fs::rename(&new, &file))
                    .inspect_err(|_| drop(fs::remove_file(&new)))
                    .map_err(Error::io("write", file))
            }
            Err(error) => Err(Error::io("read", file)(error)),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The program whose `daemon run` is the daemon.
    pub fn exe(&self) -> &Path {
        &self.exe
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.path.join("daemon.sock")
    }

    /// The daemon's lock, which holds its process number.
    pub fn lock(&self) -> PathBuf {
        self.path.join("daemon.lock")
    }

    /// The daemon's log.
    pub fn log(&self) -> PathBuf {
        self.path.join("daemon.log")
    }

    /// Where the index is.
    pub fn index(&self) -> PathBuf {
        self.path.join("index")
    }

    /// Where the state of mounts is.
    pub fn mounts(&self) -> PathBuf {
        self.path.join("mounts")
    }

    /// The limit of the local cache of frames, in bytes.
    pub fn cache_limit(&self) -> u64 {
        self.cache_limit
    }

    /// The remote that is used when none is named: a directory in the store, made here.
    pub fn embedded_remote(&self) -> Result<String> {
        let directory = self.path.join("remote");
        fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        Ok(format!("file://{}", directory.display()))
    }

    /// What the last restore looked for.
    pub fn last_restore(&self) -> PathBuf {
        self.path.join("last-restore.json")
    }

    /// Where changes go that a mount lost, for people to look at.
    pub fn unsaved(&self) -> PathBuf {
        self.path.join("unsaved")
    }

    /// Whether a daemon holds the store.
    pub fn daemon_is_locked(&self) -> bool {
        LockFile::is_held(&self.lock()).unwrap_or(true)
    }

    pub(crate) fn daemon_command(&self, patience: Duration) -> DetachedCommand {
        DetachedCommand {
            exe: self.exe.clone(),
            args: ["daemon", "run", "--store"]
                .map(OsString::from)
                .into_iter()
                .chain([self.path.clone().into_os_string()])
                .collect(),
            env: vec![(
                OsString::from("CACHEFS_CACHE_LIMIT"),
                OsString::from(self.cache_limit.to_string()),
            )],
            log: self.log(),
            patience,
        }
    }
}
