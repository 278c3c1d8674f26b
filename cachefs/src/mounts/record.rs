//! The record of a restored path.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use cachefs_store::layer::TreeTotals;
use cachefs_store::refs::{Key, LayerInfo, RefName, Scope};
use cachefs_store::replace_file::{Durability, replace_file};
use cachefs_store::save::source::PreviousSave;
use cachefs_store::stack::Owner;
use serde::{Deserialize, Serialize};

use super::attachments::Attachments;
use super::path_bytes;
use crate::error::{Error, Result};
use crate::store_dir::StoreDir;
use crate::sys::mount_namespace::own_identity;
use crate::sys::remove_tree::remove_tree;

/// How a path was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// As an overlay over a view.
    Mount,
    /// As a plain directory.
    Copy,
}

/// The facts about a restored path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRecord {
    /// The path, canonical.
    #[serde(with = "path_bytes")]
    pub path: PathBuf,
    /// How it was restored.
    pub how: How,
    /// The key that was matched.
    pub name: RefName,
    /// The remote's address, without credentials.
    pub remote: String,
    /// The stack, the bottom layer first.
    pub layers: Vec<LayerInfo>,
    /// Whether the path also shows devices, setuid bits and file capabilities.
    #[serde(default)]
    pub privileged: bool,
    /// When a ref was last known to name the stack, in microseconds since 1970.
    #[serde(default)]
    pub restored: u64,
    /// The requested key.
    pub asked: Key,
    /// The scope of the request, which is the job's own, wherever the match is from.
    pub asked_in: Scope,
    /// The scope whose keys named all layers of the stack; `None` if there were several.
    #[serde(default)]
    pub named_in: Option<Scope>,
    /// The owner that all entries show; `None` for the saved owners.
    #[serde(default)]
    pub owner: Option<Owner>,
    /// When the last save began that took up all changes, also one that found none, in
    /// microseconds since 1970.
    #[serde(default)]
    pub taken_up: u64,
    /// Totals of the stack's tree, if they are known.
    #[serde(default)]
    pub tree: Option<TreeTotals>,
    /// Saves of this path since, by key: the save and its topmost layer. A later save of the same
    /// path replaces it.
    #[serde(default)]
    pub saved: Vec<PreviousSave>,
    /// Set while a copy is made, and when it failed: the directory does not hold the key, and nothing
    /// is saved from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<Incomplete>,
}

impl MountRecord {
    /// Whether two records are of the same stack.
    pub(crate) fn same_layers(&self, other: &Self) -> bool {
        let ids =
            |record: &Self| -> Vec<_> { record.layers.iter().map(|layer| layer.id).collect() };
        ids(self) == ids(other)
    }
}

/// A directory to which a copy was not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incomplete {
    /// The device of the directory.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// Birth time in nanoseconds since 1970, or 0 if the filesystem has none. A recreated directory
    /// is a different one, and usually gets the same inode number.
    #[serde(default)]
    pub born: u64,
    /// Whether it may hold files of another key, too. Then copying once more does not help.
    pub mixed: bool,
    /// Whether the whole key was copied, beside files of another one that could not be removed.
    #[serde(default)]
    pub copied: bool,
}

impl Incomplete {
    /// Describes the present directory.
    ///
    /// # Errors
    ///
    /// If it cannot be examined.
    pub(crate) fn of(directory: &Path, mixed: bool) -> Result<Self> {
        let metadata = fs::metadata(directory).map_err(Error::io("read", directory))?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: metadata
                .created()
                .ok()
                .and_then(|born| born.duration_since(UNIX_EPOCH).ok())
                .map_or(0, |born| born.as_nanos() as u64),
            mixed,
            copied: false,
        })
    }

    /// Whether the directory is still the same one.
    pub(crate) fn is_at(&self, directory: &Path) -> bool {
        Self::of(directory, self.mixed).is_ok_and(|now| {
            let now = Self {
                copied: self.copied,
                ..now
            };
            now == *self
        })
    }
}

impl MountRecord {
    /// The time since when changes are unsaved, in microseconds since 1970; 0 when all are.
    pub(super) fn taken_up(&self) -> u64 {
        let saves = self.saved.iter().map(|saved| saved.save.micros);
        match self.taken_up {
            // Of a version that did not note it.
            0 => saves.max().unwrap_or(0),
            taken_up => taken_up,
        }
    }
}

/// The records of a store directory: one folder for each path in each mount namespace.
///
/// Containers that share a store directory have paths of the same name that are not the same.
#[derive(Debug, Clone)]
pub struct MountRecords {
    root: PathBuf,
    /// The mount namespace of this process.
    namespace: u64,
    /// Its identity, if it is one that can end.
    identity: Option<String>,
}

impl MountRecords {
    /// The records of a store.
    pub fn new(store: &StoreDir) -> Self {
        {
            let namespace =
                fs::metadata("/proc/self/ns/mnt").map_or(0, |namespace| namespace.ino());
            Self {
                root: store.mounts(),
                namespace,
                identity: own_identity(),
            }
        }
    }

    /// Where the folders are.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Inode number of the mount namespace that these records belong to.
    pub fn namespace(&self) -> u64 {
        self.namespace
    }

    /// Distinguishes that namespace from later ones with its number; `None` for the machine's own,
    /// which never ends.
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// Takes over a restored path of another mount namespace, for a process that sees the same
    /// mount: for example a service whose container was replaced, and whose mounts live on in the
    /// host's namespace.
    ///
    /// `namespace` and `identity` are the former values of [`MountRecords::namespace`] and
    /// [`MountRecords::identity`]; older versions recorded no identity. Returns whether there was a
    /// record: one of a later namespace with the same number is not taken over. The changes are in
    /// the record's folder, so they move along. An existing record of the path stays.
    ///
    /// # Errors
    ///
    /// If the folder cannot be moved or marked.
    pub fn adopt(&self, path: &Path, namespace: u64, identity: Option<&str>) -> Result<bool> {
        let theirs = Self {
            root: self.root.clone(),
            namespace,
            identity: identity.map(str::to_owned),
        };
        let (from, to) = (theirs.folder(path), self.folder(path));
        if !from.exists() || theirs.is_of_another(&from) {
            return Ok(false);
        }
        let is_strange = self.is_of_another(&to);
        match from == to {
            // The namespace has ended, and this one got its inode number.
            true if is_strange => {}
            true => return Ok(false),
            false if to.exists() && !is_strange => return Ok(false),
            false => {
                if is_strange {
                    self.make_way(&to)?;
                }
                fs::rename(&from, &to).map_err(Error::io("take over", from))?;
            }
        }
        self.mark(&to)?;
        Ok(true)
    }

    /// The folder that belongs to a path.
    pub fn folder(&self, path: &Path) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let hash = blake3::hash(path.as_os_str().as_bytes()).to_hex();
        self.root
            .join(format!("{:x}-{}", self.namespace, &hash[..24]))
    }

    fn file(&self, path: &Path) -> PathBuf {
        self.folder(path).join("record.json")
    }

    /// Where the view of a mount is.
    pub fn view(&self, record: &MountRecord) -> PathBuf {
        self.folder(&record.path).join("view")
    }

    /// Where the image of a view is mounted, if the view is one.
    pub fn image(&self, record: &MountRecord) -> PathBuf {
        self.folder(&record.path).join("lower")
    }

    /// Where the changes to a mount are.
    pub fn upper(&self, record: &MountRecord) -> PathBuf {
        self.folder(&record.path).join("upper")
    }

    /// The overlay's own directory.
    pub fn work(&self, record: &MountRecord) -> PathBuf {
        self.folder(&record.path).join("work")
    }

    /// The attachments of these paths.
    pub(super) fn attachments(&self) -> Attachments {
        Attachments::beside(&self.root)
    }

    /// Reads the record of a path.
    pub fn get(&self, path: &Path) -> Result<Option<MountRecord>> {
        match self.is_of_another(&self.folder(path)) {
            true => Ok(None),
            false => read_record(&self.file(path)),
        }
    }

    /// Whether a folder belongs to an ended mount namespace, whose inode number this one got.
    /// Folders of older versions do not contain an identity.
    pub(super) fn is_of_another(&self, folder: &Path) -> bool {
        match (&self.identity, noted_identity(folder)) {
            (Some(own), Some(noted)) => noted != *own,
            _ => false,
        }
    }

    /// Moves the folder of an ended namespace out of the way. It is kept as long as other leftovers
    /// of containers, under a number that no namespace has.
    fn make_way(&self, folder: &Path) -> Result<()> {
        let name = format!("{:x}-{}", u64::MAX, cachefs_store::id::PackId::random());
        fs::rename(folder, self.root.join(name)).map_err(Error::io("move", folder))
    }

    /// Notes in a folder which mount namespace it belongs to.
    fn mark(&self, folder: &Path) -> Result<()> {
        let Some(identity) = &self.identity else {
            return Ok(());
        };
        let file = folder.join("namespace");
        fs::write(&file, format!("{identity}\n")).map_err(Error::io("write", file))
    }

    /// Reads all records of this mount namespace.
    pub fn all(&self) -> Result<Vec<MountRecord>> {
        let folders = match fs::read_dir(&self.root) {
            Ok(folders) => folders,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", &self.root)(error)),
        };
        let mut records = Vec::new();
        let own = format!("{:x}-", self.namespace);
        let is_own = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(&own);
        for folder in folders
            .flatten()
            .filter(|folder| is_own(&folder.file_name()))
        {
            if !self.is_of_another(&folder.path()) {
                records.extend(read_record(&folder.path().join("record.json"))?);
            }
        }
        records.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(records)
    }

    /// Writes a record.
    pub fn put(&self, record: &MountRecord) -> Result<()> {
        let folder = self.folder(&record.path);
        if self.is_of_another(&folder) {
            self.make_way(&folder)?;
        }
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        self.mark(&folder)?;
        let bytes =
            serde_json::to_vec_pretty(record).map_err(|error| Error::Conversation(error.into()))?;
        let file = self.file(&record.path);
        replace_file(&file, &bytes, Durability::Volatile).map_err(Error::io("write", file))
    }

    /// Removes a record, with its upper and all.
    pub fn remove(&self, path: &Path) -> Result<()> {
        let folder = self.folder(path);
        remove_tree(&folder).map_err(Error::io("remove", folder))
    }
}

/// The identity of the mount namespace that a folder belongs to, where it says so.
pub(super) fn noted_identity(folder: &Path) -> Option<String> {
    let noted = fs::read_to_string(folder.join("namespace")).ok()?;
    let noted = noted.trim();
    (!noted.is_empty()).then(|| noted.to_owned())
}

fn read_record(file: &Path) -> Result<Option<MountRecord>> {
    match fs::read(file) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                // A torn write from a crash: the path counts as never restored.
                tracing::warn!("{} is not a record and is ignored: {error}", file.display());
                Ok(None)
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", file)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(root: &Path, namespace: u64, identity: Option<&str>) -> MountRecords {
        MountRecords {
            root: root.to_owned(),
            namespace,
            identity: identity.map(str::to_owned),
        }
    }

    fn leave(records: &MountRecords, path: &Path) {
        let folder = records.folder(path);
        fs::create_dir_all(folder.join("upper")).unwrap();
        fs::write(folder.join("upper/file"), "").unwrap();
        records.mark(&folder).unwrap();
    }

    #[test]
    fn a_replaced_service_takes_over_its_own_and_nothing_of_a_later_namespace() {
        let temp = tempfile::tempdir().unwrap();
        let path = Path::new("/pods/m2");
        let (first, next) = (
            of(temp.path(), 7, Some("70 boot")),
            of(temp.path(), 8, Some("80 boot")),
        );
        leave(&first, path);
        assert!(next.adopt(path, 7, Some("70 boot")).unwrap());
        assert!(next.folder(path).join("upper/file").exists() && !first.folder(path).exists());
        assert!(!next.adopt(path, 7, Some("70 boot")).unwrap());

        // A container that came later has the number of the first one, and its own things there.
        let stranger = of(temp.path(), 7, Some("90 boot"));
        leave(&stranger, path);
        let third = of(temp.path(), 9, Some("95 boot"));
        assert!(!third.adopt(path, 7, Some("70 boot")).unwrap());
        assert!(stranger.folder(path).join("upper/file").exists());

        // The service itself has the number again.
        let same = of(temp.path(), 8, Some("99 boot"));
        assert!(same.is_of_another(&same.folder(path)));
        assert!(!same.adopt(path, 8, Some("1 boot")).unwrap());
        assert!(same.adopt(path, 8, Some("80 boot")).unwrap());
        assert!(!same.is_of_another(&same.folder(path)));
        assert!(same.folder(path).join("upper/file").exists());
    }

    #[test]
    fn what_an_ended_namespace_left_makes_way_for_what_is_taken_over() {
        let temp = tempfile::tempdir().unwrap();
        let path = Path::new("/pods/m2");
        let (ended, theirs) = (
            of(temp.path(), 8, Some("1 boot")),
            of(temp.path(), 7, Some("2 boot")),
        );
        leave(&ended, path);
        leave(&theirs, path);
        let ours = of(temp.path(), 8, Some("3 boot"));
        assert!(ours.adopt(path, 7, Some("2 boot")).unwrap());
        assert_eq!(noted_identity(&ours.folder(path)).unwrap(), "3 boot");
        // Folders of older versions say nothing, and are taken as before.
        let old = of(temp.path(), 5, None);
        leave(&old, Path::new("/x"));
        assert!(ours.adopt(Path::new("/x"), 5, None).unwrap());
    }
}
