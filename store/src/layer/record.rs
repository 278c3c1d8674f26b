//! The fixed-width records of a layer's tables.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::id::{FrameHash, PackId, TrailerHash};

/// In a [`DirentRec`]: no inode, the entry is a whiteout.
pub const NO_INODE: u32 = u32::MAX;
/// In a [`ChunkRec`]: no frame, the piece is a hole.
pub(super) const HOLE: u32 = u32::MAX;

/// Flags of an [`InodeRec`].
pub(super) mod inode_flags {
    /// The directory hides everything that lower layers have at its path.
    pub(crate) const OPAQUE: u32 = 1;
    /// The file has holes.
    pub(crate) const SPARSE: u32 = 2;
}

/// A file, directory or anything else with attributes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct InodeRec {
    /// Type and permissions, as `st_mode`.
    pub mode: U32,
    /// Owner.
    pub uid: U32,
    /// Group.
    pub gid: U32,
    /// Number of names, at least 1.
    pub links: U32,
    /// Modification time, seconds.
    pub mtime: I64,
    /// Modification time, nanoseconds.
    pub mtime_nanos: U32,
    /// See [`inode_flags`].
    pub flags: U32,
    /// File: size in bytes. Device: `rdev`. Directory: index of its own dirent (root: 0).
    pub size: U64,
    /// Directory: first dirent. File: first chunk. Symbolic link: offset in the blobs.
    pub first: U32,
    /// Directory: number of dirents. File: number of chunks. Symbolic link: length.
    pub count: U32,
    /// Directory: the inode of its parent, always smaller than its own (root: 0).
    pub parent: U32,
    /// Index of the attributes in the xattr table plus one; 0 when there are none.
    pub xattrs: U32,
}

/// A name in a directory. The dirents of one directory are contiguous and sorted by name.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DirentRec {
    /// Offset in the names.
    pub name: U32,
    /// The inode, or [`NO_INODE`].
    pub inode: U32,
    /// Length of the name, 1 to 255.
    pub length: U16,
    /// Zero.
    pub reserved: U16,
}

/// A piece of a file: a chunk, or a hole.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ChunkRec {
    /// Where the piece ends in the file; it starts where the one before ends.
    pub end: U64,
    /// Index in the frame table, or [`HOLE`].
    pub frame: U32,
    /// Offset in the decoded frame.
    pub offset: U32,
}

/// A frame and where it is stored.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FrameRec {
    /// Hash of the stored bytes.
    pub hash: FrameHash,
    /// Index in the pack table.
    pub pack: U32,
    /// Offset in the pack.
    pub offset: U32,
    /// Number of stored bytes.
    pub stored: U32,
    /// Number of raw bytes.
    pub raw: U32,
    /// Encoding.
    pub codec: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// A pack that a layer of version 1 refers to: the beginning of a [`PackRec`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct OldPackRec {
    /// The pack.
    pub id: PackId,
    /// Its length in bytes.
    pub length: U32,
    /// Offset of its trailer.
    pub trailer: U32,
}

/// A pack that the layer refers to.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PackRec {
    /// The pack.
    pub id: PackId,
    /// Its length in bytes.
    pub length: U32,
    /// Offset of its trailer.
    pub trailer: U32,
    /// Hash of its trailer; zero where only a layer of version 1 described the pack.
    pub hash: TrailerHash,
}

/// A version of the layer format: the last byte of its magic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LayerVersion {
    /// Packs are described without the hash of their trailer.
    One = b'1' as isize,
    /// The version that is written now.
    Two = b'2' as isize,
}

impl LayerVersion {
    /// The version that a magic names; `None` when this code does not know it.
    pub(super) fn of(magic: &[u8; 8]) -> Option<Self> {
        match magic[7] {
            b'1' => Some(Self::One),
            b'2' => Some(Self::Two),
            _ => None,
        }
    }
}

/// A set of extended attributes in the blobs.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct XattrRec {
    /// Offset in the blobs.
    pub offset: U32,
    /// Length in bytes.
    pub length: U32,
}

/// The tables of a layer, in file order. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum LayerSection {
    /// [`InodeRec`]s.
    Inodes = 0,
    /// [`DirentRec`]s.
    Dirents = 1,
    /// Bytes of names.
    Names = 2,
    /// [`ChunkRec`]s.
    Chunks = 3,
    /// [`FrameRec`]s.
    Frames = 4,
    /// [`PackRec`]s.
    Packs = 5,
    /// [`XattrRec`]s.
    Xattrs = 6,
    /// Bytes of link targets and attribute sets.
    Blobs = 7,
}

/// Number of [`LayerSection`]s.
pub(super) const SECTIONS: usize = 8;

/// The sections in file order.
pub(super) const ALL: [LayerSection; SECTIONS] = [
    LayerSection::Inodes,
    LayerSection::Dirents,
    LayerSection::Names,
    LayerSection::Chunks,
    LayerSection::Frames,
    LayerSection::Packs,
    LayerSection::Xattrs,
    LayerSection::Blobs,
];

impl LayerSection {
    /// Size of one record in bytes.
    pub(super) const fn record_size(self, version: LayerVersion) -> usize {
        match self {
            Self::Packs if matches!(version, LayerVersion::One) => size_of::<OldPackRec>(),
            Self::Inodes => size_of::<InodeRec>(),
            Self::Dirents => size_of::<DirentRec>(),
            Self::Names | Self::Blobs => 1,
            Self::Chunks => size_of::<ChunkRec>(),
            Self::Frames => size_of::<FrameRec>(),
            Self::Packs => size_of::<PackRec>(),
            Self::Xattrs => size_of::<XattrRec>(),
        }
    }

    /// Base-2 logarithm of the number of records in a page: as many as fit 256 KiB.
    pub(super) const fn page_shift(self, version: LayerVersion) -> u32 {
        (super::page::PAGE / self.record_size(version)).ilog2()
    }
}
