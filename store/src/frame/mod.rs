//! Frames: consecutive chunks compressed together.
//!
//! A frame is the unit of fetching, of verification and of presence on the local disk. Chunks are
//! collected until there are [`TARGET`] raw bytes, so a frame holds at most
//! `TARGET + MAX_CHUNK - 1`. It is stored as one zstd frame, or raw when that would save less
//! than 3 %.

mod builder;
mod codec;

pub use builder::{BuiltFrame, FrameBuilder};
pub use codec::{Codec, FrameCompressor, decode_frame};

use crate::chunk::MAX_CHUNK;
use crate::id::{FrameHash, PackId};

/// A frame is closed when it holds this many raw bytes.
pub const TARGET: usize = 256 << 10;

/// The largest size of a frame, raw or stored; bounds the allocation of readers.
pub const MAX_RAW: usize = TARGET + MAX_CHUNK;

/// Where a frame is stored, and how to check and decode it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameLocation {
    /// The pack that holds it.
    pub pack: PackId,
    /// Offset of its first stored byte in the pack.
    pub offset: u32,
    /// Number of stored bytes.
    pub stored: u32,
    /// Number of raw bytes after decoding.
    pub raw: u32,
    /// How the stored bytes are encoded.
    pub codec: Codec,
    /// Hash of the stored bytes.
    pub hash: FrameHash,
}

impl FrameLocation {
    /// The byte range in the pack.
    pub fn range(&self) -> std::ops::Range<u64> {
        u64::from(self.offset)..u64::from(self.offset) + u64::from(self.stored)
    }
}

/// Where a chunk is: a piece of a decoded frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkLocation {
    /// The frame that holds it.
    pub frame: FrameLocation,
    /// Offset in the decoded frame.
    pub offset: u32,
    /// Length in bytes.
    pub length: u32,
}
