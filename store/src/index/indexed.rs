//! The answer of an index about a chunk.

use crate::frame::{self, ChunkLocation};
use crate::pack::PackRef;

/// Where a chunk is, and the pack that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Indexed {
    /// The chunk's place.
    pub location: ChunkLocation,
    /// Its pack.
    pub pack: PackRef,
}

impl Indexed {
    /// Whether this can be the location of a chunk of `length` bytes, in a frame that readers
    /// accept.
    pub(crate) fn holds(&self, length: usize) -> bool {
        let ChunkLocation {
            frame,
            offset,
            length: held,
        } = &self.location;
        let end = u64::from(*offset) + u64::from(*held);
        *held as usize == length
            && end <= u64::from(frame.raw)
            && (1..=frame::MAX_RAW).contains(&(frame.stored as usize))
            && frame.raw as usize <= frame::MAX_RAW
            && frame.range().end <= u64::from(self.pack.trailer)
    }
}
