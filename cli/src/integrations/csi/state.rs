//! Records of volumes on disk, because the service may be replaced between publishing and
//! unpublishing.
//!
//! One file for each volume, without secrets.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use cachefs::Error;
use cachefs_store::replace_file::{Durability, replace_file};
use serde::{Deserialize, Serialize};

use super::spec::Spec;

/// A volume that was published, or was to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CsiVolume {
    /// Kubelet's id of the volume.
    pub(super) id: String,
    /// Where it was published, as kubelet wrote it.
    pub(super) target: PathBuf,
    /// The cache.
    pub(super) spec: Spec,
    /// Whether it was restored with secrets of the pod, which are not here.
    pub(super) with_secrets: bool,
    /// The mount namespace that it was restored in: its inode number.
    pub(super) namespace: u64,
    /// Distinguishes that namespace from later ones with its number; none for the machine's own,
    /// and in records of older versions.
    #[serde(default)]
    pub(super) identity: Option<String>,
    /// Whether it was ever there for the pod; until then nothing in it is worth saving.
    pub(super) is_published: bool,
}

/// The files.
#[derive(Debug)]
pub(super) struct CsiState {
    directory: PathBuf,
}

impl CsiState {
    /// Opens the directory, and makes it if need be.
    pub(super) fn open(directory: PathBuf) -> cachefs::Result<Self> {
        fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        Ok(Self { directory })
    }

    fn file(&self, id: &str) -> PathBuf {
        let hash = blake3::hash(id.as_bytes()).to_hex();
        self.directory.join(format!("{}.json", &hash[..24]))
    }

    /// The record of a volume.
    pub(super) fn get(&self, id: &str) -> cachefs::Result<Option<CsiVolume>> {
        Ok(read_volume(&self.file(id))?.filter(|volume| volume.id == id))
    }

    /// All volumes.
    pub(super) fn all(&self) -> cachefs::Result<Vec<CsiVolume>> {
        let entries = fs::read_dir(&self.directory);
        let entries = entries.map_err(Error::io("read", &self.directory))?;
        let files = entries.flatten().map(|entry| entry.path());
        let is_volume = |file: &PathBuf| file.extension().is_some_and(|it| it == "json");
        let volumes = files.filter(is_volume).map(|file| read_volume(&file));
        volumes.filter_map(Result::transpose).collect()
    }

    /// Remembers a volume.
    pub(super) fn put(&self, volume: &CsiVolume) -> cachefs::Result<()> {
        let file = self.file(&volume.id);
        let bytes = serde_json::to_vec_pretty(volume)
            .map_err(|error| Error::io("write", &file)(error.into()))?;
        replace_file(&file, &bytes, Durability::Volatile).map_err(Error::io("write", file))
    }

    /// Forgets a volume.
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
            // Torn by a crash of the machine: kubelet takes such a volume down and sees it gone.
            .inspect_err(|error| tracing::warn!("{} is ignored: {error}", file.display()))
            .ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", file)(error)),
    }
}
