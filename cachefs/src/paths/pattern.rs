//! Compiling patterns of paths.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::{Error, Result};

/// Compiles a pattern in which `*` stops at `/`.
pub(super) fn compile_pattern(written: &str, globs: &[String]) -> Result<GlobSet> {
    let bad = |error: globset::Error| {
        Error::usage(
            format!("bad pattern `{written}`: {}", error.kind()),
            "patterns support `*`, `**`, `?`, `[a-z]`, `{a,b}` and a leading `!`",
        )
    };
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let glob = GlobBuilder::new(glob).literal_separator(true).build();
        set.add(glob.map_err(bad)?);
    }
    set.build().map_err(bad)
}

/// A pattern below a directory, with special characters in the directory's own name escaped.
pub(super) fn escape_base(base: &Path, pattern: &str) -> String {
    let base = globset::escape(&base.to_string_lossy());
    format!("{}/{pattern}", base.trim_end_matches('/'))
}
