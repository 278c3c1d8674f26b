//! Sets of the patterns in the table of tools.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// A set of patterns in which `*` stays within a directory.
pub(super) fn set_of(patterns: impl IntoIterator<Item = String>) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        // Patterns are the table's own, which a test compiles.
        if let Ok(glob) = GlobBuilder::new(&pattern).literal_separator(true).build() {
            set.add(glob);
        }
    }
    set.build().unwrap_or_else(|_| GlobSet::empty())
}
