//! The on-disk structures of EROFS that an image uses.

use cachefs_store::layer::mode;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{Immutable, IntoBytes, Unaligned};

/// Size of a block in bytes; that of a page, so that every kernel takes it.
pub(super) const BLOCK: u64 = 1 << BLOCK_BITS;
const BLOCK_BITS: u8 = 12;

/// Where the superblock is.
pub(super) const SUPERBLOCK: usize = 1024;
/// Inodes are numbered in units of this many bytes.
pub(super) const SLOT: usize = 32;
/// Size of an inode record.
pub(super) const INODE: usize = size_of::<Inode>();

const MAGIC: u32 = 0xE0F5_E1E2;
/// Every inode has its own time, not that of the filesystem.
const FEATURE_MTIME: u32 = 2;
/// The inode record is of the long kind, with 32-bit owners and nanoseconds.
const EXTENDED: u16 = 1;

/// The superblock, without the extensions that need a feature bit.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Superblock {
    magic: U32,
    checksum: U32,
    feature_compat: U32,
    block_bits: u8,
    extension_slots: u8,
    root: U16,
    inodes: U64,
    build_time: U64,
    build_time_nanos: U32,
    blocks: U32,
    meta_block: U32,
    xattr_block: U32,
    uuid: [u8; 16],
    volume_name: [u8; 16],
    feature_incompat: U32,
    reserved: [u8; 44],
}

impl Superblock {
    pub(super) fn new(root: u16, inodes: u64, blocks: u32, uuid: [u8; 16]) -> Self {
        Self {
            magic: MAGIC.into(),
            checksum: U32::ZERO,
            feature_compat: FEATURE_MTIME.into(),
            block_bits: BLOCK_BITS,
            extension_slots: 0,
            root: root.into(),
            inodes: inodes.into(),
            build_time: U64::ZERO,
            build_time_nanos: U32::ZERO,
            blocks: blocks.into(),
            meta_block: U32::ZERO,
            xattr_block: U32::ZERO,
            uuid,
            volume_name: *b"cachefs\0\0\0\0\0\0\0\0\0",
            feature_incompat: U32::ZERO,
            reserved: [0; 44],
        }
    }
}

/// How an inode's content is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum InodeLayout {
    /// Whole blocks.
    Plain = 0,
    /// Whole blocks, and the rest behind the inode record, in the record's own block.
    Inline = 2,
}

/// An inode record.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Inode {
    pub(super) format: U16,
    pub(super) xattr_count: U16,
    pub(super) mode: U16,
    pub(super) reserved: U16,
    pub(super) size: U64,
    /// First block of the content, or the device number.
    pub(super) start: U32,
    pub(super) number: U32,
    pub(super) uid: U32,
    pub(super) gid: U32,
    pub(super) mtime: U64,
    pub(super) mtime_nanos: U32,
    pub(super) links: U32,
    pub(super) reserved2: [u8; 16],
}

impl Inode {
    pub(super) fn format(layout: InodeLayout) -> U16 {
        (EXTENDED | (layout as u16) << 1).into()
    }
}

/// An entry of a directory block; the names follow the last entry.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Dirent {
    pub(super) inode: U64,
    pub(super) name_offset: U16,
    pub(super) kind: u8,
    pub(super) reserved: u8,
}

/// Size of a directory entry without its name.
pub(super) const DIRENT: usize = size_of::<Dirent>();

/// The number of a file type in directory entries.
pub(super) fn entry_kind(mode_bits: u32) -> u8 {
    match mode_bits & mode::TYPE {
        mode::FILE => 1,
        mode::DIRECTORY => 2,
        mode::CHARACTER => 3,
        mode::BLOCK => 4,
        mode::FIFO => 5,
        mode::SOCKET => 6,
        mode::SYMLINK => 7,
        _ => 0,
    }
}

/// A device number as the kernel stores it (`new_encode_dev`).
pub(super) fn encode_device(rdev: u64) -> u32 {
    let (major, minor) = (rustix::fs::major(rdev), rustix::fs::minor(rdev));
    minor & 0xff | major << 8 | (minor & !0xff) << 12
}
