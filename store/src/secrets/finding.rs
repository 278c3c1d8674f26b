//! What was found, and what became of it.

use std::path::PathBuf;

use super::kind::Kind;

/// Something that looks like a secret, in some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Where it begins in the bytes that were searched; `None` where that means nothing to people.
    pub line: Option<u64>,
    /// What it is.
    pub kind: Kind,
    /// The variable whose value it is.
    pub variable: Option<String>,
    /// Whether it counts in a published package as well.
    pub everywhere: bool,
}

/// What became of a file because of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is not in the cache.
    LeftOut,
    /// Nothing is saved because of it.
    Refused,
    /// It is in the cache because everything is saved whatever is found.
    Saved,
    /// It is in the cache because its path is allowed.
    Allowed,
    /// It is in the cache because it is part of a published package: anyone can have it anyway.
    Published,
}

impl Fate {
    /// Whether the file may be stored.
    pub(crate) fn is_stored(self) -> bool {
        match self {
            Self::LeftOut | Self::Refused => false,
            Self::Saved | Self::Allowed | Self::Published => true,
        }
    }
}

/// A secret in a file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, relative to the root of the tree.
    pub path: PathBuf,
    /// The line, from 1; `None` in files that are not text, and in very large ones.
    pub line: Option<u64>,
    /// What it is.
    pub kind: Kind,
    /// The variable whose value it is.
    pub variable: Option<String>,
    /// What became of the file.
    pub fate: Fate,
    /// Whether the cache has an earlier version of the file, which stays when this one is left out.
    pub replaces: bool,
}
