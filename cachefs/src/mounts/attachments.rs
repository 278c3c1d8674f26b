//! Directories of this machine that are shown in containers.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cachefs_store::replace_file::{Durability, replace_file};
use serde::{Deserialize, Serialize};

use super::path_bytes;
use crate::containers::Container;
use crate::error::{Error, Result};
use crate::store_dir::StoreDir;
use crate::sys::foreign_mount::{self, ForeignMount, Root};

/// How long something in a container may keep a directory busy.
const PATIENCE: Duration = Duration::from_secs(1);

/// The ending of the files that hold an [`Attachment`].
const RECORD: &str = "json";

/// A directory of this machine that a container shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Name of the container at the time of the attachment: a name, an id, or a process number.
    pub container: String,
    /// A process in it.
    pub pid: u32,
    /// The inode number of its mount namespace.
    pub namespace: u64,
    /// Number and boot of that namespace, which are never used again; `None` from older versions.
    #[serde(default)]
    pub identity: Option<String>,
    /// The number of the mount there.
    pub mount: u64,
    /// Where it is shown, in the container.
    #[serde(with = "path_bytes")]
    pub path: PathBuf,
    /// The directory, here; canonical.
    #[serde(with = "path_bytes")]
    pub from: PathBuf,
}

impl Attachment {
    fn foreign_mount(&self) -> ForeignMount {
        ForeignMount {
            pid: self.pid,
            namespace: self.namespace,
            identity: self.identity.clone(),
            path: self.path.clone(),
            mount: self.mount,
        }
    }
}

/// The attachments that a store directory records.
#[derive(Debug, Clone)]
pub struct Attachments {
    root: PathBuf,
}

impl Attachments {
    /// Those of a store.
    pub fn new(store: &StoreDir) -> Self {
        Self::beside(&store.mounts())
    }

    /// The attachments of the store that this folder of mounts belongs to.
    pub(super) fn beside(mounts: &Path) -> Self {
        Self {
            root: mounts.with_file_name("attached"),
        }
    }

    /// The directory in the store in which a cache is restored that is only meant for one path of
    /// one container; not made.
    pub fn place(&self, container: &Container, path: &Path) -> PathBuf {
        let mut hash = blake3::Hasher::new();
        hash.update(container.name.as_bytes()).update(&[0]);
        hash.update(path.as_os_str().as_bytes());
        self.root.join(&hash.finalize().to_hex()[..12])
    }

    /// Whether a directory is one that [`Attachments::place`] names.
    pub fn is_place(&self, directory: &Path) -> bool {
        let root = self.root.canonicalize();
        directory.parent() == root.as_deref().ok().or(Some(&self.root))
    }

    /// Resolves symbolic links in a path of a container, as an [`Attachment`] records it.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignMount`], also if the container cannot be entered.
    pub fn resolve(&self, container: &Container, path: &Path) -> Result<PathBuf> {
        Ok(foreign_mount::resolve_in_container(container.pid, path)?)
    }

    /// Mounts a directory of this machine at a path of a container, and creates the path if
    /// necessary.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignMount`], or if the attachment cannot be recorded; nothing is mounted then.
    pub fn attach(&self, from: &Path, container: &Container, path: &Path) -> Result<Attachment> {
        let from = from.canonicalize().map_err(Error::io("find", from))?;
        let shown = foreign_mount::mount_in_process(&from, container.pid, Root::OfProcess, path)?;
        let attachment = Attachment {
            container: container.name.clone(),
            pid: shown.pid,
            namespace: shown.namespace,
            identity: shown.identity.clone(),
            mount: shown.mount,
            path: shown.path.clone(),
            from,
        };
        self.put(&attachment).inspect_err(|_| {
            drop(foreign_mount::unmount_in_process(
                &shown,
                true,
                Duration::ZERO,
            ))
        })?;
        Ok(attachment)
    }

    /// The current attachments; those of ended containers are forgotten.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn all(&self) -> Result<Vec<Attachment>> {
        let files = match fs::read_dir(&self.root) {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", &self.root)(error)),
        };
        let mut found = Vec::new();
        for file in files.flatten().map(|entry| entry.path()) {
            if file.extension() != Some(OsStr::new(RECORD)) {
                continue;
            }
            // One that was torn by a crash names nothing that could be taken away.
            let read: Option<Attachment> = fs::read(&file)
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok());
            match read.filter(|attachment| foreign_mount::is_there(&attachment.foreign_mount())) {
                Some(attachment) => found.push(attachment),
                None => fs::remove_file(&file).map_err(Error::io("remove", file))?,
            }
        }
        found.sort_by(|a, b| (&a.container, &a.path).cmp(&(&b.container, &b.path)));
        Ok(found)
    }

    /// The attachment at a path of a container, whatever name the container had then.
    ///
    /// # Errors
    ///
    /// If the store or the container cannot be read.
    pub fn at(&self, container: &Container, path: &Path) -> Result<Option<Attachment>> {
        let path = self.resolve(container, path)?;
        let is_there = |shown: &Attachment| {
            shown.path == path
                && foreign_mount::is_in_namespace_of(&shown.foreign_mount(), container.pid)
        };
        Ok(self.all()?.into_iter().find(is_there))
    }

    /// Takes a directory away from a container. `lazy` does so even while processes there use it.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignMount`]; it is shown as before then.
    pub fn detach(&self, attachment: &Attachment, lazy: bool) -> Result<()> {
        foreign_mount::unmount_in_process(&attachment.foreign_mount(), lazy, PATIENCE)?;
        let file = self.file(attachment);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io("remove", file)(error))
            }
            _ => Ok(()),
        }
    }

    /// Whether a container shows a directory.
    pub(crate) fn shows(&self, from: &Path) -> Result<bool> {
        Ok(self.all()?.iter().any(|shown| shown.from == from))
    }

    /// Takes a directory away from every container that shows it.
    pub(super) fn detach_all(&self, from: &Path, lazy: bool) -> Result<()> {
        for attachment in self.all()?.iter().filter(|shown| shown.from == from) {
            self.detach(attachment, lazy)?;
        }
        Ok(())
    }

    /// Removes a directory that [`Attachments::place`] named, unless there is something in it.
    pub(super) fn tidy(&self, place: &Path) {
        if place.parent() == Some(&self.root) {
            // A build may have left files there, or it may be shown in a container still.
            let _ = fs::remove_dir(place);
        }
    }

    fn file(&self, attachment: &Attachment) -> PathBuf {
        let name = format!("{:x}-{}", attachment.namespace, attachment.mount);
        self.root.join(name).with_extension(RECORD)
    }

    fn put(&self, attachment: &Attachment) -> Result<()> {
        fs::create_dir_all(&self.root).map_err(Error::io("create", &self.root))?;
        let bytes = serde_json::to_vec_pretty(attachment)
            .map_err(|error| Error::Conversation(error.into()))?;
        let file = self.file(attachment);
        replace_file(&file, &bytes, Durability::Volatile).map_err(Error::io("write", file))
    }
}
