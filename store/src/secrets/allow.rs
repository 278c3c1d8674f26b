//! Paths whose findings the user knows about.

use std::path::Path;

use globset::GlobSet;

use crate::path_globs::compile_globs;

/// Patterns of paths, relative to the saved directory.
#[derive(Debug, Clone, Default)]
pub(super) struct AllowedPaths(GlobSet);

impl AllowedPaths {
    /// A pattern without `/` matches a name in any directory; one that matches a directory allows
    /// everything below it. The error is the invalid pattern.
    pub(super) fn new(patterns: &[String]) -> Result<Self, String> {
        let mut globs = Vec::new();
        for pattern in patterns {
            let anchored = match pattern.strip_prefix('/') {
                Some(anchored) => anchored.to_owned(),
                None if pattern.trim_end_matches('/').contains('/') => pattern.clone(),
                None => format!("**/{pattern}"),
            };
            let anchored = anchored.trim_end_matches('/');
            let of_pattern = [anchored.to_owned(), format!("{anchored}/**")];
            compile_globs(&of_pattern).map_err(|_| pattern.clone())?;
            globs.extend(of_pattern);
        }
        compile_globs(globs)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    pub(super) fn matches(&self, path: &Path) -> bool {
        self.0.is_match(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_paths_and_directories() {
        let matches = |pattern: &str, path: &str| {
            AllowedPaths::new(&[pattern.to_owned()])
                .unwrap()
                .matches(Path::new(path))
        };
        assert!(matches("*.pem", "a/b/key.pem"));
        assert!(matches("test/keys", "test/keys/a/key.pem"));
        assert!(matches("**/fixtures/**", "a/fixtures/key"));
        assert!(matches("/key.pem", "key.pem"));
        assert!(!matches("/key.pem", "a/key.pem"));
        assert!(!matches("test/*.pem", "a/test/key.pem"));
        assert_eq!(
            AllowedPaths::new(&["a[".to_owned()]).err().as_deref(),
            Some("a[")
        );
    }
}
