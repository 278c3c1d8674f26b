//! The list of frames and chunks at the end of a pack.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{MAX, PackRef};
use crate::error::{Error, Result};
use crate::frame::{self, ChunkLocation, Codec, FrameLocation};
use crate::id::{ChunkId, FrameHash, PackId, TrailerHash};

/// One frame of a pack.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct TrailerFrame {
    /// Hash of the stored bytes.
    pub hash: FrameHash,
    /// Offset in the pack.
    pub offset: U32,
    /// Number of stored bytes.
    pub stored: U32,
    /// Number of raw bytes.
    pub raw: U32,
    /// Number of chunks in it.
    pub chunks: U32,
    /// How it is encoded, as [`Codec`]'s number.
    pub codec: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// One chunk of a pack. Chunks are listed frame by frame, in order, without gaps.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct TrailerChunk {
    /// Hash of the raw bytes.
    pub id: ChunkId,
    /// Length of the raw bytes.
    pub length: U32,
}

/// The last bytes of a pack.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Footer {
    /// BLAKE3 of the frame and chunk lists.
    pub hash: [u8; 32],
    /// Number of frames.
    pub frames: U32,
    /// Number of chunks.
    pub chunks: U32,
    /// The pack's magic once more, so that a cut pack is recognised.
    pub magic: [u8; 8],
}

/// Length of the footer in bytes.
pub const FOOTER_LEN: usize = size_of::<Footer>();

/// The list of a pack's frames and their chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// The frames, by offset.
    pub frames: Vec<TrailerFrame>,
    /// The chunks of all frames, in order.
    pub chunks: Vec<TrailerChunk>,
}

impl Trailer {
    /// Appends the encoded trailer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(self.frames.as_bytes());
        out.extend_from_slice(self.chunks.as_bytes());
        let footer = Footer {
            hash: *blake3::hash(&out[start..]).as_bytes(),
            frames: U32::new(self.frames.len() as u32),
            chunks: U32::new(self.chunks.len() as u32),
            magic: super::MAGIC,
        };
        out.extend_from_slice(footer.as_bytes());
    }

    /// Decodes and checks `bytes`, which reach from the trailer's start to the pack's end.
    pub fn decode(pack: &PackId, bytes: &[u8]) -> Result<Self> {
        let damaged = |detail: &str| Error::damaged(format!("pack {pack}"), detail);
        let Ok((lists, footer)) = Footer::read_from_suffix(bytes) else {
            return Err(damaged("it is shorter than its footer"));
        };
        if footer.magic != super::MAGIC {
            return Err(damaged("wrong magic number"));
        }
        if footer.hash != *blake3::hash(lists).as_bytes() {
            return Err(damaged("trailer hash mismatch"));
        }
        let (frames, chunks) = (footer.frames.get() as usize, footer.chunks.get() as usize);
        let (frames, rest) = <[TrailerFrame]>::ref_from_prefix_with_elems(lists, frames)
            .map_err(|_| damaged("its trailer is too short for its frames"))?;
        let chunks = <[TrailerChunk]>::ref_from_bytes_with_elems(rest, chunks)
            .map_err(|_| damaged("its trailer is too short for its chunks"))?;
        let trailer = Self {
            frames: frames.to_vec(),
            chunks: chunks.to_vec(),
        };
        trailer.check().map_err(damaged)?;
        Ok(trailer)
    }

    /// Decodes and checks the trailer of a pack that a layer describes.
    ///
    /// # Errors
    /// [`Error::Damaged`], also when the bytes do not have the hash that the layer has for them.
    pub fn of(pack: &PackRef, bytes: &[u8]) -> Result<Self> {
        let damaged = |detail: &str| Error::damaged(format!("pack {}", pack.id), detail);
        let wanted = pack.length.checked_sub(pack.trailer);
        if wanted.is_none_or(|wanted| bytes.len() != wanted as usize) {
            return Err(damaged("unexpected trailer length"));
        }
        if pack.hash.is_some_and(|hash| hash != TrailerHash::of(bytes)) {
            return Err(damaged(
                "its trailer differs from the saved one; the pack was replaced",
            ));
        }
        let trailer = Self::decode(&pack.id, bytes)?;
        let reaches_beyond = |frame: &TrailerFrame| frame.end() > u64::from(pack.trailer);
        if trailer.frames.iter().any(reaches_beyond) {
            return Err(damaged("its trailer lists a frame after the trailer"));
        }
        Ok(trailer)
    }

    /// Checks that the numbers agree with each other.
    fn check(&self) -> Result<(), &'static str> {
        let mut chunks = self.chunks.iter();
        for frame in &self.frames {
            if Codec::from_number(frame.codec).is_none() {
                return Err("a frame has an unknown encoding");
            }
            let count = frame.chunks.get() as usize;
            let raw: u64 = chunks
                .by_ref()
                .take(count)
                .map(|chunk| u64::from(chunk.length.get()))
                .sum();
            if raw != u64::from(frame.raw.get()) || raw > frame::MAX_RAW as u64 {
                return Err("the chunks of a frame do not match its size");
            }
            // As a layer's reader has it: a frame that no layer may name is not one to save with.
            let stored = frame.stored.get() as usize;
            if stored == 0 || raw == 0 || stored > frame::MAX_RAW {
                return Err("a frame is empty or too large");
            }
            if frame.end() > MAX as u64 {
                return Err("a frame lies outside the pack");
            }
        }
        if chunks.next().is_some() {
            Err("it lists chunks without a frame")
        } else {
            Ok(())
        }
    }

    /// The frames as locations in `pack`.
    pub fn frame_locations(&self, pack: &PackId) -> impl Iterator<Item = FrameLocation> {
        self.frames.iter().filter_map(move |frame| {
            Some(FrameLocation {
                pack: *pack,
                offset: frame.offset.get(),
                stored: frame.stored.get(),
                raw: frame.raw.get(),
                codec: Codec::from_number(frame.codec)?,
                hash: frame.hash,
            })
        })
    }

    /// Every chunk with its location in `pack`.
    pub fn chunk_locations(&self, pack: &PackId) -> impl Iterator<Item = (ChunkId, ChunkLocation)> {
        let mut chunks = self.chunks.iter();
        self.frames
            .iter()
            .zip(self.frame_locations(pack))
            .flat_map(move |(listed, frame)| {
                let mut offset = 0;
                let chunks: Vec<_> = chunks.by_ref().take(listed.chunks.get() as usize).collect();
                chunks.into_iter().map(move |chunk| {
                    let length = chunk.length.get();
                    let location = ChunkLocation {
                        frame,
                        offset,
                        length,
                    };
                    offset += length;
                    (chunk.id, location)
                })
            })
    }

    /// The encoded length in bytes.
    pub fn encoded_len(&self) -> usize {
        self.frames.as_bytes().len() + self.chunks.as_bytes().len() + FOOTER_LEN
    }
}

impl TrailerFrame {
    /// Where it ends in the pack.
    fn end(&self) -> u64 {
        u64::from(self.offset.get()) + u64::from(self.stored.get())
    }
}

impl PackRef {
    /// The byte range of the trailer.
    pub fn trailer_range(&self) -> std::ops::Range<u64> {
        u64::from(self.trailer)..u64::from(self.length)
    }
}
