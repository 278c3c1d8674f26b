//! The store directory: its layout and its permissions.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cachefs_store::replace_file::{Durability, replace_file};
use cachefs_store::session::LocalStore;

use crate::error::{Error, Result};
use crate::sys::lock::LockFile;
use crate::sys::ownership::{make_private_dir, others_can_add};
use crate::sys::spawn::DetachedCommand;
use cachefs_store::Hint;

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
    /// The socket of a share of another store's daemon.
    share: Option<PathBuf>,
}

impl StoreDir {
    /// Opens a store directory, creating it when it is not there.
    ///
    /// `exe` is the program whose `daemon run` is the daemon, and `cache_limit` the limit of the
    /// local cache of frames, in bytes, for this process and a daemon that it starts.
    pub fn open(path: &Path, exe: PathBuf, cache_limit: u64) -> Result<Self> {
        make_private_dir(path).map_err(Error::io("create", path))?;
        let path = path.canonicalize().map_err(Error::io("open", path))?;
        if others_can_add(&path).map_err(Error::io("open", &path))? {
            return Err(Error::usage(
                format!(
                    "any user can write to the store directory {}",
                    path.display()
                ),
                format!(
                    "see that nothing in it is foreign, then `chmod go-w {}`; or choose another \
                     --store",
                    path.display()
                ),
            ));
        }
        let store = Self {
            path,
            exe,
            cache_limit,
            share: None,
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
                    Hint::UpdateOrOtherStore,
                )),
                Err(_) => Err(Error::usage(
                    format!("{} is not a valid store directory format", file.display()),
                    Hint::OtherStore,
                )),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // A full disk must not leave an empty file, which no later command would accept.
                let text = format!("{FORMAT}\n");
                replace_file(&file, text.as_bytes(), Durability::Volatile)
                    .map_err(Error::io("write", file))
            }
            Err(error) => Err(Error::io("read", file)(error)),
        }
    }

    /// The same directory, with views served by another store's daemon through one of its shares.
    #[must_use]
    pub fn served_by(self, share: PathBuf) -> Self {
        Self {
            share: Some(share),
            ..self
        }
    }

    /// The same directory, served by its own daemon.
    #[must_use]
    pub fn with_own_daemon(self) -> Self {
        Self {
            share: None,
            ..self
        }
    }

    /// The socket of the share that views come from, if they come from one.
    pub fn share(&self) -> Option<&Path> {
        self.share.as_deref()
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The program whose `daemon run` is the daemon.
    pub fn exe(&self) -> &Path {
        &self.exe
    }

    /// Removes the local copies and the index of versions that did not separate them by remote.
    /// Nothing reads them, and all of their content can be fetched again.
    pub(crate) fn remove_old_layout(&self) {
        for name in ["packs", "layers", "index/rocksdb", "index/pending"] {
            let path = self.path.join(name);
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!("cannot remove {}: {error}", path.display());
                }
                _ => {}
            }
        }
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

    /// Whether a directory looks like the local store of some cachefs.
    ///
    /// A search for a build's files must not enter one that lies in the workspace: the files of every
    /// mounted cache are there once more.
    pub fn is_at(directory: &Path) -> bool {
        directory.join("format").is_file()
            && ["mounts", "daemon.lock"]
                .iter()
                .any(|name| directory.join(name).exists())
    }

    /// Whether a canonical path is one of the store's own directories that show a cache to
    /// containers: in `attached`, `containers` and `volumes`.
    pub fn shows_caches_at(&self, path: &Path) -> bool {
        path.strip_prefix(&self.path).is_ok_and(|inside| {
            let mut names = inside.iter();
            let folder = names.next();
            folder
                .is_some_and(|name| name == "attached" || name == "containers" || name == "volumes")
                && names.next().is_some()
        })
    }

    /// The limit of the local cache of frames, in bytes.
    pub fn cache_limit(&self) -> u64 {
        self.cache_limit
    }

    /// The parts of the directory that a [`Session`](cachefs_store::session::Session) uses.
    pub fn local(&self) -> LocalStore {
        LocalStore {
            path: self.path.clone(),
            cache_limit: self.cache_limit,
        }
    }

    /// The remote that is used when none is named: a directory in the store, made here.
    pub fn embedded_remote(&self) -> Result<String> {
        let directory = self.path.join("remote");
        fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        Ok(format!("file://{}", directory.display()))
    }

    /// The record of the last restore's lookups.
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
