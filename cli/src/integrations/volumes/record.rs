//! The record of a volume, in a file that outlives the plugin.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use cachefs::{Error, StoreDir};
use cachefs_store::replace_file::{Durability, replace_file};
use serde::{Deserialize, Serialize};

use crate::integrations::container_cache::check_name;

/// The record of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeRecord {
    /// Its name.
    pub(crate) name: String,
    /// The options from its creation.
    pub(crate) options: BTreeMap<String, String>,
    /// Time of its creation, in microseconds since 1970.
    pub(crate) created: u64,
    /// Its current mounts.
    pub(crate) holders: Vec<VolumeHolder>,
    /// Whether its directory has the cache mounted, or unsaved files of containers.
    pub(crate) shown: bool,
    /// The boot ID of the machine at the time of the holders' mounts.
    pub(crate) boot: String,
    /// The last operation, for users.
    pub(crate) last: Option<String>,
    /// Number of saves that started and never finished, because the plugin crashed.
    #[serde(default)]
    pub(crate) broken_saves: u32,
}

/// A mount of a volume, by a container or by the engine itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeHolder {
    /// The engine's ID of the mount.
    pub(crate) id: String,
    /// Time of the mount, in microseconds since 1970.
    pub(crate) since: u64,
    /// Whether the engine's processes are visible in our PID namespace, so that we can detect the
    /// exit of the container.
    pub(crate) visible: bool,
}

/// The records of the volumes of a store.
#[derive(Debug)]
pub(crate) struct VolumeRecords {
    root: PathBuf,
    /// Locked, so that only one plugin changes the records; the kernel releases the lock when the
    /// process exits, even after a crash.
    _lock: File,
}

impl VolumeRecords {
    /// Opens the records of a store exclusively, and creates their folder.
    ///
    /// # Errors
    ///
    /// If another process has them open, or the folder cannot be created.
    pub(crate) fn new(store: &StoreDir) -> Result<Self, Error> {
        let root = store.path().join("volumes");
        fs::create_dir_all(&root).map_err(Error::io("create", &root))?;
        let file = root.join(".lock");
        let lock = File::create(&file).map_err(Error::io("create", &file))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::usage(
                format!(
                    "another plugin serves the volumes of {}",
                    store.path().display()
                ),
                "stop it; it finishes running saves before it exits",
            )),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", file)(error)),
        }
    }

    /// The folder of a volume.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The mount point of a volume, which the engine binds.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.folder(name).join("data")
    }

    /// Reads a record; `None` if there is no such volume.
    ///
    /// # Errors
    ///
    /// If the record exists but cannot be read.
    pub(crate) fn get(&self, name: &str) -> Result<Option<VolumeRecord>, Error> {
        read_record(&self.folder(name).join("volume.json"))
    }

    /// Reads all records, sorted by name. Skips and logs unreadable ones.
    ///
    /// # Errors
    ///
    /// If their folder cannot be listed.
    pub(crate) fn all(&self) -> Result<Vec<VolumeRecord>, Error> {
        let folders = fs::read_dir(&self.root).map_err(Error::io("read", &self.root))?;
        let mut all = Vec::new();
        for folder in folders.flatten() {
            // The lock file starts with a dot, which names of volumes cannot.
            if folder.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            match read_record(&folder.path().join("volume.json")) {
                // The name of the folder is that of the volume, so a record with another name is
                // damaged.
                Ok(Some(volume)) if folder.file_name() != volume.name.as_str() => tracing::warn!(
                    "{} is the record of another volume and is ignored",
                    folder.path().display()
                ),
                Ok(volume) => all.extend(volume),
                Err(error) => tracing::warn!("{}", cachefs::describe_chain(&error)),
            }
        }
        all.sort_by(|a: &VolumeRecord, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Writes a record atomically, and waits until it is on disk: the engine keeps its own list of
    /// volumes, and after a crash it could have a volume that we do not know.
    ///
    /// # Errors
    ///
    /// If it cannot be written; the previous record is intact then.
    pub(crate) fn put(&self, volume: &VolumeRecord) -> Result<(), Error> {
        let folder = self.folder(&volume.name);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let file = folder.join("volume.json");
        let bytes = serde_json::to_vec_pretty(volume)
            .map_err(|error| Error::io("write", &file)(error.into()))?;
        replace_file(&file, &bytes, Durability::Synced).map_err(Error::io("write", file))
    }

    /// Removes a volume with its folder, which must not be mounted.
    ///
    /// # Errors
    ///
    /// If something cannot be removed.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        let folder = self.folder(name);
        fs::remove_dir_all(&folder).map_err(Error::io("remove", folder))
    }
}

fn read_record(file: &Path) -> Result<Option<VolumeRecord>, Error> {
    match fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::io("read", file)(error.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", file)(error)),
    }
}

/// The current boot ID of this machine: mounts of an earlier boot no longer exist.
pub(crate) fn boot_id() -> String {
    let file = "/proc/sys/kernel/random/boot_id";
    fs::read_to_string(file).map_or_else(|_| String::new(), |id| id.trim().to_owned())
}
