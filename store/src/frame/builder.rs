//! Collecting chunks into frames.

use std::io;

use super::{Codec, FrameCompressor, TARGET};
use crate::id::{ChunkId, FrameHash};

/// A compressed frame that has no place in a pack yet.
#[derive(Debug)]
pub struct BuiltFrame {
    /// The bytes to store.
    pub stored: Vec<u8>,
    /// Their hash.
    pub hash: FrameHash,
    /// How they are encoded.
    pub codec: Codec,
    /// Number of raw bytes.
    pub raw: u32,
    /// The chunks in it, in order: id and length. Their offsets follow from the lengths.
    pub chunks: Vec<(ChunkId, u32)>,
}

/// Fills frames with chunks.
pub struct FrameBuilder {
    compressor: FrameCompressor,
    raw: Vec<u8>,
    chunks: Vec<(ChunkId, u32)>,
}

impl FrameBuilder {
    /// Makes an empty builder.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            compressor: FrameCompressor::new()?,
            raw: Vec::new(),
            chunks: Vec::new(),
        })
    }

    /// Adds a chunk; returns the frame that it completes, if it does.
    pub fn push(&mut self, id: ChunkId, bytes: &[u8]) -> io::Result<Option<BuiltFrame>> {
        self.raw.extend_from_slice(bytes);
        self.chunks.push((id, bytes.len() as u32));
        if self.raw.len() >= TARGET {
            self.finish()
        } else {
            Ok(None)
        }
    }

    /// Closes the current frame, if it holds anything.
    pub fn finish(&mut self) -> io::Result<Option<BuiltFrame>> {
        if self.chunks.is_empty() {
            return Ok(None);
        }
        let mut stored = Vec::new();
        let codec = self.compressor.encode(&self.raw, &mut stored)?;
        let frame = BuiltFrame {
            hash: FrameHash::of(&stored),
            stored,
            codec,
            raw: self.raw.len() as u32,
            chunks: std::mem::take(&mut self.chunks),
        };
        self.raw.clear();
        Ok(Some(frame))
    }
}
