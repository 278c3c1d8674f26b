//! Visiting every entry of a stack.

use super::{Attr, Ino, Stack};
use crate::error::Result;
use crate::layer::mode;

/// An entry of a [`Walk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalkEntry {
    /// Path from the root, without a leading slash; empty for the root itself.
    pub path: Vec<u8>,
    /// Its attributes.
    pub attr: Attr,
}

/// Visits a tree depth first, directories before their entries, entries in the order of names.
#[derive(Debug)]
pub struct Walk<'a> {
    stack: &'a Stack,
    pending: Vec<(Vec<u8>, Ino)>,
}

impl<'a> Walk<'a> {
    /// Starts at the root.
    pub fn new(stack: &'a Stack) -> Self {
        Self { stack, pending: vec![(Vec::new(), Ino::ROOT)] }
    }

    fn visit(&mut self, path: Vec<u8>, ino: Ino) -> Result<WalkEntry> {
        let attr = self.stack.attr(ino)?;
        if attr.kind() == mode::DIRECTORY {
            let first = self.pending.len();
            self.stack.list(ino, 0, |_, name, ino| {
                let mut child = path.clone();
                if !child.is_empty() {
                    child.push(b'/');
                }
                child.extend_from_slice(name);
                self.pending.push((child, ino));
                Ok(true)
            })?;
            self.pending[first..].reverse();
        }
        Ok(WalkEntry { path, attr })
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<WalkEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let (path, ino) = self.pending.pop()?;
        Some(self.visit(path, ino))
    }
}
