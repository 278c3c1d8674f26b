//! Keys and values of the database. Local only: a change of these needs a new directory name, not
//! a new format version.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::frame::{Codec, FrameLocation};
use crate::id::{DomainId, PackId, TrailerHash};
use crate::pack::{PackRef, Trailer, TrailerFrame};

/// Where a chunk is.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ChunkValue {
    pub(super) pack: PackId,
    /// Number of the frame in the pack.
    pub(super) frame: U32,
    pub(super) offset: U32,
    pub(super) length: U32,
    /// The beginning of the hash of the pack's trailer. The number of the frame means something in
    /// that trailer only.
    pub(super) trailer: [u8; 8],
}

impl ChunkValue {
    /// Whether the frame's number is one of this pack as it is described.
    pub(super) fn is_in(&self, pack: &PackRef) -> bool {
        pack.hash
            .is_some_and(|hash| hash.0.starts_with(&self.trailer))
    }
}

/// The key of anything: the domain, then its name there.
pub(super) fn domain_key(domain: &DomainId, name: &[u8]) -> Vec<u8> {
    [&domain.0[..], name].concat()
}

/// A pack's value: its length, the offset and the hash of its trailer, its frames.
pub(super) fn encode_pack(pack: &PackRef, hash: &TrailerHash, trailer: &Trailer) -> Vec<u8> {
    let mut value = Vec::with_capacity(40 + trailer.frames.as_bytes().len());
    value.extend_from_slice(&pack.length.to_le_bytes());
    value.extend_from_slice(&pack.trailer.to_le_bytes());
    value.extend_from_slice(&hash.0);
    value.extend_from_slice(trailer.frames.as_bytes());
    value
}

/// A pack as the index knows it.
pub(super) struct PackValue {
    pub(super) pack: PackRef,
    pub(super) frames: Vec<FrameLocation>,
}

pub(super) fn decode_pack(id: &PackId, value: &[u8]) -> Option<PackValue> {
    let (length, rest) = U32::read_from_prefix(value).ok()?;
    let (trailer, rest) = U32::read_from_prefix(rest).ok()?;
    let (hash, rest) = TrailerHash::read_from_prefix(rest).ok()?;
    let frames = <[TrailerFrame]>::ref_from_bytes(rest).ok()?;
    let frames = frames
        .iter()
        .map(|frame| {
            Some(FrameLocation {
                pack: *id,
                offset: frame.offset.get(),
                stored: frame.stored.get(),
                raw: frame.raw.get(),
                codec: Codec::from_number(frame.codec)?,
                hash: frame.hash,
            })
        })
        .collect::<Option<Vec<_>>>()?;
    Some(PackValue {
        pack: PackRef {
            id: *id,
            length: length.get(),
            trailer: trailer.get(),
            hash: Some(hash),
        },
        frames,
    })
}
