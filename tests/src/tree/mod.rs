//! Directory trees as data: describe, create, change and compare them.
//!
//! - [`TreeSpec`] describes a tree; [`TreeSpec::build`] creates it with ordinary system calls;
//! - [`arbitrary`] generates specifications for property tests;
//! - [`TreeMutation`] changes a tree in place, in the same way for equal trees;
//! - [`mod@compare`] lists the differences between two trees.

pub mod acl;
pub mod arbitrary;
mod build;
pub mod compare;
pub mod content;
pub mod mutate;
pub mod xattr;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use compare::{CompareOptions, Difference, assert_same, compare};
pub use content::Content;
pub use mutate::TreeMutation;

/// A tree below an existing directory.
#[derive(Clone, Debug, Default)]
pub struct TreeSpec {
    /// The entries. A directory precedes its children, and a file precedes its hard links.
    pub entries: Vec<Entry>,
}

/// One entry of a tree.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Path relative to the root of the tree.
    pub path: PathBuf,
    /// Kind of the entry, with its content.
    pub kind: Kind,
    /// Metadata such as owner and permissions. Ignored for hard links, which share their target's.
    pub meta: Meta,
}

/// The kind of an entry.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A regular file.
    File(Content),
    /// A directory.
    Dir,
    /// A symbolic link with this target, which may dangle.
    Symlink(PathBuf),
    /// A hard link to the file at this path, relative to the root of the tree.
    Hardlink(PathBuf),
    /// A named pipe.
    Fifo,
    /// A character device with major and minor number.
    CharDevice(u32, u32),
    /// A block device with major and minor number.
    BlockDevice(u32, u32),
    /// A socket.
    Socket,
}

/// Metadata of an entry.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Permission bits including setuid, setgid and sticky. Ignored for symbolic links.
    pub mode: u32,
    /// The owner; `None` keeps the user that builds the tree.
    pub owner: Option<Owner>,
    /// Modification time.
    pub mtime: Time,
    /// Extended attributes by full name, for example `user.comment`. Only for regular files and
    /// directories.
    pub xattrs: BTreeMap<OsString, Vec<u8>>,
}

/// The owner of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// A timestamp with the resolution of filesystems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since the Unix epoch; negative before 1970.
    pub sec: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nsec: u32,
}

impl Default for Meta {
    fn default() -> Self {
        Self {
            mode: 0o644,
            owner: None,
            mtime: Time {
                sec: 1_600_000_000,
                nsec: 123_456_789,
            },
            xattrs: BTreeMap::new(),
        }
    }
}

impl Meta {
    /// Default metadata with these permission bits.
    #[must_use]
    pub fn mode(mode: u32) -> Self {
        Self {
            mode,
            ..Self::default()
        }
    }
}

impl TreeSpec {
    /// Adds an entry.
    pub fn add(&mut self, path: impl Into<PathBuf>, kind: Kind, meta: Meta) -> &mut Self {
        self.entries.push(Entry {
            path: path.into(),
            kind,
            meta,
        });
        self
    }

    /// Adds a directory with mode 755 and otherwise default metadata.
    pub fn dir(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.add(path, Kind::Dir, Meta::mode(0o755))
    }

    /// Adds a file with `len` bytes generated from `seed`, and default metadata.
    pub fn file(&mut self, path: impl Into<PathBuf>, len: u64, seed: u64) -> &mut Self {
        self.add(path, Kind::File(Content::new(len, seed)), Meta::default())
    }

    /// Adds a symbolic link with default metadata.
    pub fn symlink(&mut self, path: impl Into<PathBuf>, target: impl Into<PathBuf>) -> &mut Self {
        self.add(path, Kind::Symlink(target.into()), Meta::default())
    }

    /// Creates the tree below `root`, an existing directory.
    ///
    /// # Errors
    ///
    /// If a system call fails; the error names the path. Device nodes and foreign owners need root,
    /// and extended attributes need a filesystem that supports them.
    pub fn build(&self, root: &Path) -> anyhow::Result<()> {
        build::build(self, root)
    }
}
