//! Parts: the caches of a key that holds several paths.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::encoding::encode_segments;
use crate::error::{Error, Result};

/// The encoded part has at most this many bytes.
const MAX_ENCODED: usize = 600;

/// Selects one of a key's caches: its path, in a form that is the same on all machines.
///
/// A path below the workspace is relative to it, one below the home directory starts with `~/`, any
/// other is absolute; `.` and `~` are the two directories themselves. It contains no `.` or `..`,
/// no empty name and no control character. A key of one path has no part.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CachePart(String);

impl CachePart {
    /// Checks a part.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let names = text
            .strip_prefix("~/")
            .or_else(|| text.strip_prefix('/'))
            .unwrap_or(&text);
        let is_name = |name: &str| !matches!(name, "" | "." | "..");
        let is_path = matches!(text.as_str(), "." | "~" | "/") || names.split('/').all(is_name);
        let problem = if !is_path {
            "contains empty names, `.` or `..`".to_owned()
        } else if let Some(bad) = text.chars().find(|c| c.is_control()) {
            format!("has the control character {bad:?}")
        } else if encode_segments(&text).len() > MAX_ENCODED {
            format!("takes more than {MAX_ENCODED} bytes when encoded as an object name")
        } else {
            return Ok(Self(text));
        };
        Err(Error::InvalidName(format!("the path `{text}` {problem}")))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CachePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CachePart {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<CachePart> for String {
    fn from(part: CachePart) -> Self {
        part.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_normal_paths() {
        for good in [".", "~", "/", "a", "a/b", "~/.m2", "/var/cache/x", "a b/ü"] {
            assert!(CachePart::new(good).is_ok(), "{good}");
        }
        for bad in [
            "", "..", "a/..", "~/../x", "/a//b", "a/", "~/", "a/./b", "a\nb",
        ] {
            assert!(CachePart::new(bad).is_err(), "{bad:?}");
        }
        // A `/` every 128 bytes counts.
        assert!(CachePart::new("x".repeat(596)).is_ok());
        assert!(CachePart::new("x".repeat(597)).is_err());
    }
}
