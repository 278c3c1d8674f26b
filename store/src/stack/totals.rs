//! Totals of a stack's tree.

use std::collections::HashSet;

use super::{Ino, Stack};
use crate::error::Result;
use crate::layer::{TreeTotals, mode};

impl Stack {
    /// Counts the regular files of the merged tree and their sizes, each inode once; `None` if the
    /// tree has more than `limit` entries.
    ///
    /// This is not the sum of the layers: hidden and replaced files are not counted.
    pub fn totals(&self, limit: u64) -> Result<Option<TreeTotals>> {
        let mut totals = TreeTotals::default();
        let mut entries = 0;
        let mut linked = HashSet::new();
        let mut directories = vec![Ino::ROOT];
        let mut children = Vec::new();
        while let Some(directory) = directories.pop() {
            self.list(directory, 0, |_, _, ino| {
                children.push(ino);
                Ok(true)
            })?;
            entries += children.len() as u64;
            if entries > limit {
                return Ok(None);
            }
            for ino in children.drain(..) {
                let attr = self.attr(ino)?;
                match attr.kind() {
                    mode::DIRECTORY => directories.push(ino),
                    mode::FILE if attr.links < 2 || linked.insert(ino) => {
                        totals.files += 1;
                        totals.bytes = totals.bytes.saturating_add(attr.size);
                    }
                    _ => {}
                }
            }
        }
        Ok(Some(totals))
    }
}
