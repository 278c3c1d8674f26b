//! The sizes of trees that are counted.

/// A tree of more entries is not counted on the way to a mount, which takes milliseconds.
pub(crate) const COUNTED_QUICKLY: u64 = 1 << 16;

/// A tree of more entries is not counted at all.
pub(crate) const COUNTED: u64 = 1 << 19;
