//! Directory trees as data: described, made, changed, and compared.
//!
//! - [`TreeSpec`] describes a tree; [`TreeSpec::build`] makes it with ordinary system calls;
//! - [`arbitrary`] generates specifications for property tests;
//! - [`TreeMutation`] changes a tree in place, the same way in every tree that is equal;
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

/// A tree below a directory that exists already.
#[derive(Clone, Debug, Default)]
pub struct TreeSpec {
    /// The entries; a directory comes before what is in it, a file before its hard links.
    pub entries: Vec<Entry>,
}

/// One entry of a tree.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where, relative to the root of the tree.
    pub path: PathBuf,
    /// What.
    pub kind: Kind,
    /// Owner, permissions and so on; of no effect for a hard link, which shares its target's.
    pub meta: Meta,
}

/// What an entry is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A regular file.
    File(Content),
    /// A directory.
    Dir,
    /// A symbolic link with this target, which need not exist.
    Symlink(PathBuf),
    /// Another name of the file at this path, relative to the root of the tree.
    Hardlink(PathBuf),
    /// A named pipe.
    Fifo,
    /// A character device with its major and minor number.
    CharDevice(u32, u32),
    /// A block device with its major and minor number.
    BlockDevice(u32, u32),
    /// A socket.
    Socket,
}

/// What an entry has besides its content.
#[derive(Clone, Debug)]
pub struct Meta {
    /// The permission bits with setuid, setgid and sticky; without effect for symbolic links.
    pub mode: u32,
    /// The owner; `None` leaves who builds the tree.
    pub owner: Option<Owner>,
    /// The time of modification.
    pub mtime: Time,
    /// Extended attributes by their full names; regular files and directories only.
    pub xattrs: BTreeMap<OsString, Vec<u8>>,
}

/// The owner of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// A time as filesystems keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970; negative before.
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
    /// Default metadata with other permission bits.
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

    /// Adds a directory with default metadata and mode 755.
    pub fn dir(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.add(path, Kind::Dir, Meta::mode(0o755))
    }

    /// Adds a file of `len` bytes made from `seed`, with default metadata.
    pub fn file(&mut self, path: impl Into<PathBuf>, len: u64, seed: u64) -> &mut Self {
        self.add(path, Kind::File(Content::new(len, seed)), Meta::default())
    }

    /// Adds a symbolic link with default metadata.
    pub fn symlink(&mut self, path: impl Into<PathBuf>, target: impl Into<PathBuf>) -> &mut Self {
        self.add(path, Kind::Symlink(target.into()), Meta::default())
    }

    /// Makes the tree below `root`, an existing directory.
    ///
    /// # Errors
    ///
    /// The first system call that fails, with the path. Device nodes and foreign owners need
    /// root, extended attributes a filesystem that has them.
    pub fn build(&self, root: &Path) -> anyhow::Result<()> {
        build::build(self, root)
    }
}
