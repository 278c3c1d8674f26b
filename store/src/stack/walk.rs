//! Visiting every entry of a stack.

use super::{Attr, Ino, Stack};
use crate::error::Result;
use crate::layer::mode;
use crate::path_limit::MAX_PATH;

/// An entry of a [`StackWalk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalkEntry {
    /// Path from the root, without a leading slash; empty for the root itself.
    pub path: Vec<u8>,
    /// Its attributes.
    pub attr: Attr,
}

/// Something that was listed and is still to be visited.
#[derive(Debug)]
struct PendingVisit {
    /// Length of its directory's path.
    above: usize,
    name: Box<[u8]>,
    ino: Ino,
}

/// Visits a tree depth first, directories before their entries, entries sorted by name.
///
/// Leaves out entries whose path is longer than [`MAX_PATH`].
#[derive(Debug)]
pub struct StackWalk<'a> {
    stack: &'a Stack,
    pending: Vec<PendingVisit>,
    /// The path of the entry that was visited last: it begins with the paths of all directories
    /// that have entries pending.
    path: Vec<u8>,
    is_checked: bool,
    left_out: u64,
}

impl<'a> StackWalk<'a> {
    /// Starts at the root.
    pub fn new(stack: &'a Stack) -> Self {
        Self {
            stack,
            pending: vec![PendingVisit {
                above: 0,
                name: Box::default(),
                ino: Ino::ROOT,
            }],
            path: Vec::new(),
            is_checked: false,
            left_out: 0,
        }
    }

    /// Number of entries so far that were left out, each with all below it, because their paths
    /// are too long.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn visit(&mut self, PendingVisit { above, name, ino }: PendingVisit) -> Result<WalkEntry> {
        if !self.is_checked {
            self.stack.check_shares()?;
            self.is_checked = true;
        }
        self.path.truncate(above);
        if above > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&name);
        let attr = self.stack.attr(ino)?;
        if attr.kind() == mode::DIRECTORY {
            let first = self.pending.len();
            let above = self.path.len();
            self.stack.list(ino, 0, |_, name, ino| {
                if above + 1 + name.len() > MAX_PATH {
                    self.left_out += 1;
                    return Ok(true);
                }
                let name = name.into();
                self.pending.push(PendingVisit { above, name, ino });
                Ok(true)
            })?;
            self.pending[first..].reverse();
        }
        let path = self.path.clone();
        Ok(WalkEntry { path, attr })
    }
}

impl Iterator for StackWalk<'_> {
    type Item = Result<WalkEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let pending = self.pending.pop()?;
        Some(self.visit(pending))
    }
}
