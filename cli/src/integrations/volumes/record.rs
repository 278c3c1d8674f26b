//! The record of a volume, in a file that outlives the plugin.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use cachefs::{Error, StoreDir};
use cachefs_store::replace_file::{Durability, replace_file};
use serde::{Deserialize, Serialize};

use crate::integrations::container_cache::check_name;

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeRecord {
    /// Its name.
    pub(crate) name: String,
    /// The options that it was created with.
    pub(crate) options: BTreeMap<String, String>,
    /// When that was, in microseconds since 1970.
    pub(crate) created: u64,
    /// Its present mounts.
    pub(crate) holders: Vec<VolumeHolder>,
    /// Whether its directory shows the cache, or unsaved files of containers.
    pub(crate) shown: bool,
    /// The boot of the machine that holders and mounts are of.
    pub(crate) boot: String,
    /// The last operation, for users.
    pub(crate) last: Option<String>,
    /// Saves that were begun and did not come to an end, as the plugin did before.
    #[serde(default)]
    pub(crate) broken_saves: u32,
}

/// One mount of a volume, by a container or by the engine itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeHolder {
    /// The engine's name for it.
    pub(crate) id: String,
    /// When it was mounted, in microseconds since 1970.
    pub(crate) since: u64,
    /// Whether the engine's processes are visible from here, so that we can see when the container
    /// is gone.
    pub(crate) visible: bool,
}

/// The volumes of a store.
#[derive(Debug)]
pub(crate) struct VolumeRecords {
    root: PathBuf,
    /// Locked, so that one plugin alone changes them; the kernel unlocks it however the plugin
    /// ends.
    _lock: File,
}

impl VolumeRecords {
    /// The records of a store, for this process alone; their folder is made.
    ///
    /// # Errors
    ///
    /// When another process has them, and when the folder cannot be made.
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

    /// Where the engine finds a volume's files.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.folder(name).join("data")
    }

    /// Reads a record; `None` when there is no such volume.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    pub(crate) fn get(&self, name: &str) -> Result<Option<VolumeRecord>, Error> {
        read_record(&self.folder(name).join("volume.json"))
    }

    /// Reads all records, by name. One that cannot be read is passed over, and that is logged.
    ///
    /// # Errors
    ///
    /// When their folder cannot be listed.
    pub(crate) fn all(&self) -> Result<Vec<VolumeRecord>, Error> {
        let folders = fs::read_dir(&self.root).map_err(Error::io("read", &self.root))?;
        let mut all = Vec::new();
        for folder in folders.flatten() {
            // The lock is no volume, and no volume has a name like that.
            if folder.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            match read_record(&folder.path().join("volume.json")) {
                // Its name leads to its folder, so a record that names another is damaged.
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

    /// Writes a record, whole or not at all, and waits until it is on the disk: the engine keeps
    /// its own list of volumes, and would have one here that nobody knows.
    ///
    /// # Errors
    ///
    /// When it cannot be written; the one before is still there then.
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
    /// When something cannot be removed.
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

/// The present boot of this machine: nothing that was mounted in another one still is.
pub(crate) fn boot_id() -> String {
    let file = "/proc/sys/kernel/random/boot_id";
    fs::read_to_string(file).map_or_else(|_| String::new(), |id| id.trim().to_owned())
}
