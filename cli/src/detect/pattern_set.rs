//! Sets of the patterns in the table of tools.

use cachefs_store::path_globs::compile_globs;
use globset::GlobSet;

/// A set of patterns in which `*` stays within a directory.
pub(super) fn set_of(patterns: impl IntoIterator<Item = String>) -> GlobSet {
    // Patterns are the table's own, which a test compiles.
    compile_globs(patterns).unwrap_or_else(|_| GlobSet::empty())
}
