//! Records of volumes on disk, because the service may be replaced between publishing and
//! unpublishing.
//!
//! There is one file per volume, without secrets.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use cachefs::Error;
use cachefs_store::replace_file::{Durability, replace_file};
use serde::{Deserialize, Serialize};

use super::spec::Spec;

/// A volume that was published, or is being published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CsiVolume {
    /// Kubelet's id of the volume.
    pub(super) id: String,
    /// The target path, as kubelet wrote it.
    pub(super) target: PathBuf,
    /// The cache.
    pub(super) spec: Spec,
    /// Whether it was restored with secrets of the pod, which are not in the record.
    pub(super) with_secrets: bool,
    /// The inode number of the mount namespace of the restore.
    pub(super) namespace: u64,
    /// Distinguishes the namespace from later ones with the same inode number; `None` for the
    /// machine's own namespace, and in records of older versions.
    #[serde(default)]
    pub(super) identity: Option<String>,
    /// Whether the pod ever had the volume; before that there is nothing to save.
    pub(super) is_published: bool,
}

/// The directory of the records.
#[derive(Debug)]
pub(super) struct CsiState {
    directory: PathBuf,
}

impl CsiState {
    /// Opens the directory, and creates it if needed.
    pub(super) fn open(directory: PathBuf) -> cachefs::Result<Self> {
        fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        Ok(Self { directory })
    }

    fn file(&self, id: &str) -> PathBuf {
        let hash = blake3::hash(id.as_bytes()).to_hex();
        self.directory.join(format!("{}.json", &hash[..24]))
    }

    /// Reads the record of a volume; `None` if there is none.
    pub(super) fn get(&self, id: &str) -> cachefs::Result<Option<CsiVolume>> {
        Ok(read_volume(&self.file(id))?.filter(|volume| volume.id == id))
    }

    /// Reads the records of all volumes.
    pub(super) fn all(&self) -> cachefs::Result<Vec<CsiVolume>> {
        let entries = fs::read_dir(&self.directory);
        let entries = entries.map_err(Error::io("read", &self.directory))?;
        let files = entries.flatten().map(|entry| entry.path());
        let is_volume = |file: &PathBuf| file.extension().is_some_and(|it| it == "json");
        let volumes = files.filter(is_volume).map(|file| read_volume(&file));
        volumes.filter_map(Result::transpose).collect()
    }

    /// Writes the record of a volume.
    pub(super) fn put(&self, volume: &CsiVolume) -> cachefs::Result<()> {
        let file = self.file(&volume.id);
        let bytes = serde_json::to_vec_pretty(volume)
            .map_err(|error| Error::io("write", &file)(error.into()))?;
        replace_file(&file, &bytes, Durability::Volatile).map_err(Error::io("write", file))
    }

    /// Removes the record of a volume.
    pub(super) fn remove(&self, id: &str) -> cachefs::Result<()> {
        let file = self.file(id);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io("remove", file)(error))
            }
            _ => Ok(()),
        }
    }
}

fn read_volume(file: &Path) -> cachefs::Result<Option<CsiVolume>> {
    match fs::read(file) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)
            // Torn by a crash of the machine. Ignore it: kubelet unpublishes such a volume and
            // finds it gone.
            .inspect_err(|error| tracing::warn!("{} is ignored: {error}", file.display()))
            .ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", file)(error)),
    }
}
