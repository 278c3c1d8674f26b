//! Paths whose findings the user knows about.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Patterns of paths, relative to the saved directory.
#[derive(Debug, Clone, Default)]
pub(super) struct AllowedPaths(GlobSet);

impl AllowedPaths {
    /// A pattern without `/` matches a name in any directory; one that matches a directory allows
    /// everything below it. The error is the invalid pattern.
    pub(super) fn new(patterns: &[String]) -> Result<Self, String> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let anchored = match pattern.strip_prefix('/') {
                Some(anchored) => anchored.to_owned(),
                None if pattern.trim_end_matches('/').contains('/') => pattern.clone(),
                None => format!("**/{pattern}"),
            };
            let anchored = anchored.trim_end_matches('/');
            for glob in [anchored.to_owned(), format!("{anchored}/**")] {
                let glob = GlobBuilder::new(&glob)
                    .literal_separator(true)
                    .backslash_escape(true)
                    .build();
                set.add(glob.map_err(|_| pattern.clone())?);
            }
        }
        Ok(Self(set.build().map_err(|error| error.to_string())?))
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
