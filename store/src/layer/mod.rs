//! Layers: one save's delta, as an index that can be read without unpacking it.
//!
//! A layer is a tree of entries and whiteouts with references into frames, in fixed-width
//! little-endian tables that are cut into pages, byte-shuffled and compressed. Its head lists the
//! pages with their hashes, and the layer's name is the hash of the head: any page can be fetched
//! and verified by itself. It carries full locations, so a cold machine needs nothing else to read
//! the files. The byte layout is in `docs/format/layer.md`.

mod builder;
#[cfg(test)]
mod golden;
mod head;
mod page;
mod reader;
mod record;
#[cfg(test)]
pub(crate) mod testing;
mod xattr;

pub use builder::{
    BuiltLayer, EntryTarget, LayerBuilder, NewEntry, NewFilePiece, NewInode, NewKind,
};
pub use head::{LayerHead, LayerSummary, TreeTotals};
pub use reader::{ContentPiece, Layer};
pub use record::{ChunkRec, DirentRec, FrameRec, InodeRec, NO_INODE, PackRec};
pub use xattr::{MAX_XATTRS, Xattrs};

use crate::id::LayerId;
use crate::remote::ObjectKey;

/// The first eight bytes of every layer that is written; the last one is the version.
pub const MAGIC: [u8; 8] = *b"CFSLAYR2";

/// The inode of a layer's root directory.
pub const ROOT: u32 = 0;

/// The largest layer object, in bytes (1 GiB); bounds the allocation of readers.
pub const MAX: u64 = 1 << 30;

/// The object that holds a layer.
pub fn object_key(id: &LayerId) -> ObjectKey {
    let hex = id.to_string();
    ObjectKey::new(format!("layers/{}/{hex}", &hex[..2]))
}

/// When a file was modified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 UTC; negative before.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}

/// The attributes that all types of inodes have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// File type and permission bits, as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Timestamp,
    /// Extended attributes, ACLs among them.
    pub xattrs: Xattrs,
}

/// The file type bits of `st_mode`; the same on every Linux.
pub mod mode {
    /// Mask of the type bits.
    pub const TYPE: u32 = 0o170_000;
    /// Directory.
    pub const DIRECTORY: u32 = 0o040_000;
    /// Regular file.
    pub const FILE: u32 = 0o100_000;
    /// Symbolic link.
    pub const SYMLINK: u32 = 0o120_000;
    /// Character device.
    pub const CHARACTER: u32 = 0o020_000;
    /// Block device.
    pub const BLOCK: u32 = 0o060_000;
    /// Named pipe.
    pub const FIFO: u32 = 0o010_000;
    /// Socket.
    pub const SOCKET: u32 = 0o140_000;
}
