//! The state of each large file of a copy.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::Mutex;

use super::plan::{CopyPlan, LARGE};

/// A large file under way.
#[derive(Debug)]
pub(super) enum LargeFileState {
    /// No thread has come to it yet.
    Untouched,
    /// It exists; the number is that of its unwritten parts.
    Open(Arc<OwnedFd>, usize),
    /// It is complete.
    Done,
    /// It could not be created or written, which is reported.
    Failed,
}

/// The large files of a plan.
#[derive(Debug)]
pub(super) struct LargeFiles(HashMap<usize, (usize, Mutex<LargeFileState>)>);

impl LargeFiles {
    pub(super) fn new(plan: &CopyPlan) -> Self {
        let mut parts: HashMap<usize, usize> = HashMap::new();
        for part in &plan.parts {
            if plan.leaves[part.leaf].size > LARGE {
                *parts.entry(part.leaf).or_default() += 1;
            }
        }
        let untouched = |(leaf, parts)| (leaf, (parts, Mutex::new(LargeFileState::Untouched)));
        Self(parts.into_iter().map(untouched).collect())
    }

    /// The number of parts of a large file, and its state; `None` for other files.
    pub(super) fn get(&self, leaf: usize) -> Option<(usize, &Mutex<LargeFileState>)> {
        let (parts, state) = self.0.get(&leaf)?;
        Some((*parts, state))
    }

    /// The files that have only some of their bytes.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = usize> {
        let is_open = |state: &Mutex<_>| matches!(*state.lock(), LargeFileState::Open(..));
        self.0
            .iter()
            .filter(move |(_, (_, state))| is_open(state))
            .map(|(leaf, _)| *leaf)
    }
}
