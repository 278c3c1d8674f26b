//! Assembling a pack in memory.

use zerocopy::little_endian::U32;

use super::trailer::{Trailer, TrailerChunk, TrailerFrame};
use super::{MAGIC, PackRef, TARGET};
use crate::frame::{BuiltFrame, FrameLocation};
use crate::id::{PackId, TrailerHash};

/// A pack that is complete and ready to be written by one `put`.
#[derive(Debug)]
pub struct FinishedPack {
    /// Its name, length and trailer.
    pub pack: PackRef,
    /// The whole object.
    pub bytes: Vec<u8>,
    /// The list of its frames and chunks.
    pub trailer: Trailer,
}

/// Collects frames until the pack is full.
pub struct PackWriter {
    id: PackId,
    bytes: Vec<u8>,
    trailer: Trailer,
}

impl PackWriter {
    /// Starts a pack with a new random name.
    pub fn new() -> Self {
        let mut bytes = Vec::with_capacity(TARGET + (1 << 20));
        bytes.extend_from_slice(&MAGIC);
        let trailer = Trailer {
            frames: Vec::new(),
            chunks: Vec::new(),
        };
        Self {
            id: PackId::random(),
            bytes,
            trailer,
        }
    }

    /// Appends a frame; returns where it is.
    pub fn push(&mut self, frame: &BuiltFrame) -> FrameLocation {
        let offset = self.bytes.len() as u32;
        let stored = frame.stored.len() as u32;
        self.bytes.extend_from_slice(&frame.stored);
        self.trailer.frames.push(TrailerFrame {
            hash: frame.hash,
            offset: U32::new(offset),
            stored: U32::new(stored),
            raw: U32::new(frame.raw),
            chunks: U32::new(frame.chunks.len() as u32),
            codec: frame.codec as u8,
            reserved: [0; 3],
        });
        self.trailer
            .chunks
            .extend(frame.chunks.iter().map(|&(id, length)| TrailerChunk {
                id,
                length: U32::new(length),
            }));
        FrameLocation {
            pack: self.id,
            offset,
            stored,
            raw: frame.raw,
            codec: frame.codec,
            hash: frame.hash,
        }
    }

    /// Whether the pack has reached its target size.
    pub fn is_full(&self) -> bool {
        self.bytes.len() + self.trailer.encoded_len() >= TARGET
    }

    /// Whether no frame was added.
    pub fn is_empty(&self) -> bool {
        self.trailer.frames.is_empty()
    }

    /// Completes the pack.
    pub fn finish(mut self) -> FinishedPack {
        let trailer = self.bytes.len() as u32;
        self.trailer.encode(&mut self.bytes);
        let pack = PackRef {
            id: self.id,
            length: self.bytes.len() as u32,
            trailer,
            hash: Some(TrailerHash::of(&self.bytes[trailer as usize..])),
        };
        FinishedPack {
            pack,
            bytes: self.bytes,
            trailer: self.trailer,
        }
    }
}

impl Default for PackWriter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameBuilder;
    use crate::id::ChunkId;

    #[test]
    fn a_pack_lists_what_is_in_it() {
        let mut frames = FrameBuilder::new().unwrap();
        let mut writer = PackWriter::new();
        let chunks: Vec<Vec<u8>> = (0..100u32).map(|n| n.to_le_bytes().repeat(2000)).collect();
        for chunk in &chunks {
            if let Some(frame) = frames.push(ChunkId::of(chunk), chunk).unwrap() {
                writer.push(&frame);
            }
        }
        writer.push(&frames.finish().unwrap().unwrap());
        let pack = writer.finish();
        let trailer = Trailer::decode(&pack.pack.id, &pack.bytes[pack.pack.trailer as usize..]);
        assert_eq!(trailer.as_ref().ok(), Some(&pack.trailer));
        assert_eq!(
            pack.trailer.encoded_len(),
            pack.bytes.len() - pack.pack.trailer as usize
        );

        for ((id, location), chunk) in pack.trailer.chunk_locations(&pack.pack.id).zip(&chunks) {
            let range = location.frame.offset as usize..;
            let stored = &pack.bytes[range][..location.frame.stored as usize];
            let frame = location.frame;
            let raw =
                crate::frame::decode_frame(stored, &frame.hash, frame.codec, frame.raw).unwrap();
            assert_eq!(id, ChunkId::of(chunk));
            assert_eq!(
                &raw[location.offset as usize..][..location.length as usize],
                &chunk[..]
            );
        }
    }

    #[test]
    fn damage_to_a_trailer_is_found() {
        let mut frames = FrameBuilder::new().unwrap();
        frames.push(ChunkId::of(b"a"), b"a").unwrap();
        let mut writer = PackWriter::new();
        writer.push(&frames.finish().unwrap().unwrap());
        let pack = writer.finish();
        let trailer = &pack.bytes[pack.pack.trailer as usize..];
        for position in 0..trailer.len() {
            let mut damaged = trailer.to_vec();
            damaged[position] ^= 0x40;
            assert!(
                Trailer::decode(&pack.pack.id, &damaged).is_err(),
                "byte {position}"
            );
            assert!(Trailer::decode(&pack.pack.id, &trailer[..position]).is_err());
        }
    }
}
