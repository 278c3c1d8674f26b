//! A part of a file that one worker reads.

use std::ops::Range;

/// A run of bytes of one file.
#[derive(Debug, Clone)]
pub(crate) struct BatchPart {
    pub(crate) node: usize,
    pub(crate) range: Range<u64>,
}
