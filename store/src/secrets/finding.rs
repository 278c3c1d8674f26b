//! Findings, and the treatment of the files that have them.

use std::path::PathBuf;

use super::secret_kind::SecretKind;

/// A probable secret in some bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMatch {
    /// The line, from 1; `None` in binary files and in parts of large files.
    pub line: Option<u64>,
    /// Its kind.
    pub kind: SecretKind,
    /// The variable whose value it is.
    pub variable: Option<String>,
    /// Whether it is the value of a named variable, or in a file that exists to hold credentials.
    /// Otherwise only its format, or the name of a setting, suggests a secret.
    pub certain: bool,
}

/// The treatment of a file that has a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretHandling {
    /// It is not in the cache.
    LeftOut,
    /// It failed the whole save.
    Refused,
    /// It is in the cache, because the policy reports such findings only.
    Saved,
    /// It is in the cache, because `--secrets-allow` matches its path.
    Allowed,
}

impl SecretHandling {
    /// Whether the file may be stored.
    pub(crate) fn is_stored(self) -> bool {
        match self {
            Self::LeftOut | Self::Refused => false,
            Self::Saved | Self::Allowed => true,
        }
    }
}

/// A secret in a file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFinding {
    /// The file, relative to the root of the tree.
    pub path: PathBuf,
    /// The line, from 1; `None` in files that are not text, and in very large ones.
    pub line: Option<u64>,
    /// Its kind.
    pub kind: SecretKind,
    /// The variable whose value it is.
    pub variable: Option<String>,
    /// As in [`SecretMatch::certain`].
    pub certain: bool,
    /// The treatment of the file by the save.
    pub fate: SecretHandling,
    /// Whether the cache has an earlier version of the file, which stays when this one is left out.
    pub replaces: bool,
}
