//! The options of a save.

use std::sync::Arc;
use std::time::Duration;

use super::exclude::{Everything, Exclude};
use crate::refs::{CachePart, Creator, Platform, RefName, Scope};
use crate::secrets::Scanner;
use crate::stack::SQUASH_DEPTH;

/// Treatment of a key that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// The save is added to it, as a layer.
    #[default]
    Extend,
    /// The key holds the path's content afterwards, and nothing else.
    Replace,
    /// An existing key stays as it is: nothing is saved, and the path is not read.
    Keep,
}

/// A key to save, and how.
#[derive(Debug, Clone)]
pub struct SaveRequest {
    /// The key and its scope.
    pub name: RefName,
    /// The scopes that a restore of the key searches after its own, in order. The save reuses chunks
    /// that these scopes have stored.
    pub fallback: Vec<Scope>,
    /// The layer of a stack that the key is for, such as `base`; `None` for the top of one.
    pub role: Option<String>,
    /// The entries of the path that are left out.
    pub exclude: Arc<dyn Exclude>,
    /// The job that saves.
    pub creator: Creator,
    /// The platform that the content was built for.
    pub platform: Platform,
    /// The parts that the key was made of.
    pub parts: serde_json::Value,
    /// Treatment of a key that exists.
    pub existing: Existing,
    /// Writes a record also when nothing changed: the key is then the newest of its prefix.
    pub always: bool,
    /// Reports the effects of a save, and writes nothing.
    pub dry_run: bool,
    /// The key expires this long after the save.
    pub ttl: Option<Duration>,
    /// Reads every file, even if its times show that an earlier save has read it.
    pub ignore_times: bool,
    /// Fails when a file changes while it is saved, instead of reading it again.
    pub strict_consistency: bool,
    /// Saves a directory without any file, too. It is mostly a mistake: the build did not fill it.
    pub allow_empty: bool,
    /// The scanner for secrets, and the treatment of files that contain some.
    pub secrets: Arc<Scanner>,
    /// Where the path is, in a form that machines share, for restores to compare; `None` where it
    /// has no such form, or where the key's part already says it.
    pub saved_from: Option<CachePart>,
    /// The number of layers below the newest that the key's stack may have; deeper ones are squashed.
    pub squash_depth: usize,
}

impl SaveRequest {
    /// A save of everything in a path that adds to the key, does not expire, and searches for no
    /// secrets.
    pub fn new(name: RefName) -> Self {
        Self {
            name,
            fallback: Vec::new(),
            role: None,
            exclude: Arc::new(Everything),
            creator: Creator::default(),
            platform: Platform::default(),
            parts: serde_json::Value::Null,
            existing: Existing::default(),
            always: false,
            dry_run: false,
            ttl: None,
            ignore_times: false,
            strict_consistency: false,
            allow_empty: true,
            secrets: Arc::new(Scanner::off()),
            saved_from: None,
            squash_depth: SQUASH_DEPTH,
        }
    }
}
