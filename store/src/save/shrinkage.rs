//! Detects a save that removes most of the restored entries.
//!
//! A cleanup such as `git clean -ffdx` empties a mount without an error, and the next save would
//! publish that as the new content of the key.

use std::collections::HashMap;

use super::delta::Delta;
use super::tree::{FileTree, NodeKind};
use crate::error::Result;
use crate::layer::mode;
use crate::refs::RefName;
use crate::stack::{Ino, Stack, StackWalk};

/// Caches that lose fewer entries are not worth a warning.
const FEW: u64 = 3;

/// More entries are not counted: at most a second of work.
const COUNTED: u64 = 1 << 19;

/// How much smaller a tree gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shrinkage {
    /// Entries that are gone, those below removed directories included.
    pub(super) removed: u64,
    /// Entries of the stack, without its root.
    pub(super) entries: u64,
}

impl Shrinkage {
    /// The warning to print before other jobs get the result.
    pub(super) fn warning(&self, name: &RefName, dry_run: bool) -> String {
        let removes = if dry_run { "would remove" } else { "removed" };
        format!(
            "this save {removes} {} of the {} entries that were there before; if a cleanup such as \
             `git clean` deleted them, run `cachefs delete {}` and save a complete directory",
            self.removed, self.entries, name.key
        )
    }
}

/// Measures a difference; `None` if the tree keeps at least half of its size.
///
/// # Errors
///
/// When the stack is damaged.
pub(super) fn measure_shrinkage(
    tree: &FileTree,
    delta: &Delta,
    stack: &Stack,
) -> Result<Option<Shrinkage>> {
    if delta.removed == 0 {
        return Ok(None);
    }
    let removed = count_removed(tree, delta, stack)?;
    let lost = removed.saturating_sub(delta.added);
    if removed < FEW || lost == 0 {
        return Ok(None);
    }
    // The root is an entry of the walk, too.
    let most = 2 * lost;
    let entries = count_up_to(StackWalk::new(stack), most + 1)?.saturating_sub(1);
    Ok((entries < most).then_some(Shrinkage { removed, entries }))
}

/// Counts the entries of the stack that are gone, up to [`COUNTED`].
fn count_removed(tree: &FileTree, delta: &Delta, stack: &Stack) -> Result<u64> {
    let mut removed = 0;
    let mut paths = Paths::default();
    for (index, node) in tree.nodes.iter().enumerate() {
        if removed >= COUNTED {
            break;
        }
        for name in delta.missing.get(&index).into_iter().flatten() {
            if let Some(directory) = paths.find(tree, stack, index)?
                && let Some(ino) = stack.lookup(directory, name)?
            {
                removed += count_below(stack, ino)?;
            }
        }
        let is_emitted = delta.emit.get(index).is_some_and(|emit| *emit);
        if is_emitted
            && matches!(node.kind, NodeKind::Whiteout)
            && let Some(directory) = paths.find(tree, stack, node.parent)?
            && let Some(ino) = stack.lookup(directory, &node.name)?
        {
            removed += count_below(stack, ino)?;
        }
    }
    Ok(removed)
}

/// Where directories of the tree are in the stack.
#[derive(Default)]
struct Paths(HashMap<usize, Option<Ino>>);

impl Paths {
    fn find(&mut self, tree: &FileTree, stack: &Stack, index: usize) -> Result<Option<Ino>> {
        if let Some(found) = self.0.get(&index) {
            return Ok(*found);
        }
        let found = match index {
            0 => Some(Ino::ROOT),
            _ => stack.find(&tree.path(index))?,
        };
        self.0.insert(index, found);
        Ok(found)
    }
}

/// Counts an entry with all below it, up to [`COUNTED`].
fn count_below(stack: &Stack, ino: Ino) -> Result<u64> {
    let mut entries = 0;
    let mut pending = vec![ino];
    while let Some(ino) = pending.pop() {
        entries += 1;
        if entries >= COUNTED {
            break;
        }
        if stack.attr(ino)?.kind() == mode::DIRECTORY {
            stack.list(ino, 0, |_, _, child| {
                pending.push(child);
                Ok(true)
            })?;
        }
    }
    Ok(entries)
}

fn count_up_to<T>(walk: impl Iterator<Item = Result<T>>, limit: u64) -> Result<u64> {
    let mut entries = 0;
    for entry in walk {
        entry?;
        entries += 1;
        if entries >= limit {
            break;
        }
    }
    Ok(entries)
}
