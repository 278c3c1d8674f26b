//! Compiling patterns of paths.

use std::path::Path;

use cachefs_store::path_globs::compile_globs;
use globset::GlobSet;

use crate::error::{Error, Result};

/// Compiles the globs that the user wrote as `written`.
pub(super) fn compile_path_pattern(written: &str, globs: &[String]) -> Result<GlobSet> {
    let bad = |error: globset::Error| {
        Error::usage(
            format!("bad pattern `{written}`: {}", error.kind()),
            "patterns support `*`, `**`, `?`, `[a-z]`, `{a,b}` and a leading `!`",
        )
    };
    compile_globs(globs).map_err(bad)
}

/// A pattern below a directory, with special characters in the directory's own name escaped.
pub(super) fn escape_base(base: &Path, pattern: &str) -> String {
    let base = globset::escape(&base.to_string_lossy());
    format!("{}/{pattern}", base.trim_end_matches('/'))
}
