//! A directory that a tool caches in, and how that was learnt.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// How a path was learnt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Learnt {
    /// The tool said so, when it was asked with this command.
    Asked(String),
    /// This variable names it.
    Variable(String),
    /// This file names it.
    File(String),
    /// The tool's own default.
    Default,
}

impl Learnt {
    /// A phrase that follows a path.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Asked(question) => format!("from `{question}`"),
            Self::Variable(name) => format!("from the variable {name}"),
            Self::File(name) => format!("by {name}"),
            Self::Default => "the default".to_owned(),
        }
    }
}

/// A directory of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetectedDirectory {
    /// Absolute, or relative to the workspace for a directory of a project.
    pub(crate) path: PathBuf,
    /// How it was learnt.
    pub(crate) learnt: Learnt,
}

impl DetectedDirectory {
    pub(super) fn new(path: PathBuf, learnt: Learnt) -> Self {
        Self { path, learnt }
    }

    /// A directory below this one.
    pub(super) fn join(&self, below: impl AsRef<Path>) -> Self {
        Self {
            path: self.path.join(below),
            learnt: self.learnt.clone(),
        }
    }
}
