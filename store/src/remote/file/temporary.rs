//! Files that a write leaves if it is interrupted.

/// The folder of the root that holds files being written. No object can be in it.
pub(super) const TEMPORARY: &str = ".tmp";
