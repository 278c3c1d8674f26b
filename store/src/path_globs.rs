//! Globs that match paths.

use globset::{Error, GlobBuilder, GlobSet, GlobSetBuilder};

/// Compiles globs in which `*` and `?` do not match `/`, and `**` matches any number of directories.
/// Every glob of cachefs has this form.
///
/// # Errors
/// The first invalid glob, or a set that is too large.
///
/// # Examples
/// ```
/// let globs = cachefs_store::path_globs::compile_globs(["src/*.rs"])?;
/// assert!(globs.is_match("src/lib.rs"));
/// assert!(!globs.is_match("src/save/mod.rs"));
/// # Ok::<(), globset::Error>(())
/// ```
pub fn compile_globs<G: AsRef<str>>(globs: impl IntoIterator<Item = G>) -> Result<GlobSet, Error> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(
            GlobBuilder::new(glob.as_ref())
                .literal_separator(true)
                .backslash_escape(true)
                .build()?,
        );
    }
    set.build()
}
