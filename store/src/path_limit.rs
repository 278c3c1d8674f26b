//! The longest path.

/// The longest path in bytes: four times the kernel's limit for one call, because programs that
/// change into directories step by step do create such trees. Walks and copies leave out and report
/// longer paths: a layer of some kilobytes can nest directories so deeply that its paths add up to
/// gigabytes.
pub(crate) const MAX_PATH: usize = 16_383;
