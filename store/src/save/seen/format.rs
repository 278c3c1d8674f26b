//! The bytes of a file list. Local only: a change needs another magic, not another format version.

use std::path::Path;

use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::id::{ChunkId, DomainId, FrameHash, PackId, TrailerHash};

const MAGIC: [u8; 8] = *b"cfsseen3";

/// In [`SeenPiece::frame`]: the piece is a hole.
pub(super) const HOLE: u32 = u32::MAX;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    /// BLAKE3 of everything behind this field.
    hash: [u8; 32],
    domain: DomainId,
    salt: [u8; 16],
    /// The fingerprint of the search for secrets; zero when there was none.
    searched: [u8; 32],
    files: U32,
    pieces: U32,
    frames: U32,
    packs: U32,
}

/// Where the hashed bytes begin.
const HASHED: usize = 40;

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SeenFile {
    pub(super) device: U64,
    pub(super) inode: U64,
    pub(super) size: U64,
    pub(super) changed: I64,
    pub(super) modified: I64,
    pub(super) changed_nanos: U32,
    pub(super) modified_nanos: U32,
    /// Number of its first piece.
    pub(super) first: U32,
    pub(super) pieces: U32,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SeenPiece {
    pub(super) chunk: ChunkId,
    pub(super) length: U64,
    /// Number of the frame that holds it, or [`HOLE`].
    pub(super) frame: U32,
    pub(super) offset: U32,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SeenFrame {
    pub(super) hash: FrameHash,
    /// Number of its pack.
    pub(super) pack: U32,
    pub(super) offset: U32,
    pub(super) stored: U32,
    pub(super) raw: U32,
    pub(super) codec: u8,
    pub(super) reserved: [u8; 3],
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Pack {
    pub(super) id: PackId,
    pub(super) length: U32,
    pub(super) trailer: U32,
    /// Zero where it is not known.
    pub(super) hash: TrailerHash,
}

/// The four lists, and the fingerprint of the search for secrets in these files.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) salt: [u8; 16],
    pub(super) searched: Option<[u8; 32]>,
    /// By device and inode.
    pub(super) files: Vec<SeenFile>,
    pub(super) pieces: Vec<SeenPiece>,
    pub(super) frames: Vec<SeenFrame>,
    pub(super) packs: Vec<Pack>,
}

fn list_count<T>(list: &[T]) -> U32 {
    U32::new(list.len() as u32)
}

impl Tables {
    pub(super) fn encode(&self, domain: &DomainId) -> Vec<u8> {
        let lists = [
            self.files.as_bytes(),
            self.pieces.as_bytes(),
            self.frames.as_bytes(),
            self.packs.as_bytes(),
        ];
        let header = Header {
            magic: MAGIC,
            hash: [0; 32],
            domain: *domain,
            salt: self.salt,
            searched: self.searched.unwrap_or_default(),
            files: list_count(&self.files),
            pieces: list_count(&self.pieces),
            frames: list_count(&self.frames),
            packs: list_count(&self.packs),
        };
        let mut bytes = [&[header.as_bytes()], &lists[..]].concat().concat();
        let hash = blake3::hash(&bytes[HASHED..]);
        bytes[MAGIC.len()..HASHED].copy_from_slice(hash.as_bytes());
        bytes
    }

    /// Reads a list; `None` if it is missing, damaged, or belongs to another domain.
    pub(super) fn read(path: &Path, domain: &DomainId) -> Option<Self> {
        let bytes = std::fs::read(path).ok()?;
        let (header, rest) = Header::ref_from_prefix(&bytes).ok()?;
        if header.magic != MAGIC
            || header.domain != *domain
            || header.hash != *blake3::hash(&bytes[HASHED..]).as_bytes()
        {
            return None;
        }
        let number = |count: U32| count.get() as usize;
        let (files, rest) =
            <[SeenFile]>::ref_from_prefix_with_elems(rest, number(header.files)).ok()?;
        let (pieces, rest) =
            <[SeenPiece]>::ref_from_prefix_with_elems(rest, number(header.pieces)).ok()?;
        let (frames, rest) =
            <[SeenFrame]>::ref_from_prefix_with_elems(rest, number(header.frames)).ok()?;
        let packs = <[Pack]>::ref_from_bytes_with_elems(rest, number(header.packs)).ok()?;
        Some(Self {
            salt: header.salt,
            searched: (header.searched != [0; 32]).then_some(header.searched),
            files: files.to_vec(),
            pieces: pieces.to_vec(),
            frames: frames.to_vec(),
            packs: packs.to_vec(),
        })
    }
}
