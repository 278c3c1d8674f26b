//! The paths that differ from the stack below, name by name.

use super::delta::{Baseline, Delta};
use super::pipeline::Packed;
use super::tree::{FileNode, FileTree, NodeKind};
use crate::error::Result;
use crate::layer::{Meta, mode};
use crate::stack::{Attr, EntryChange, Ino, Stack};

/// A path that differs from the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathChange {
    /// Path from the cache's root, without a leading slash; empty for the root itself.
    pub path: Vec<u8>,
    /// How it differs.
    pub change: EntryChange,
    /// Whether it is, or was, a directory.
    pub directory: bool,
    /// Size of the file it was in bytes, unless it was added or no file.
    pub before: Option<u64>,
    /// Size of the file in bytes; `None` if it was removed or is not a file.
    pub after: Option<u64>,
}

/// Lists a difference between a tree and the stack below it, in the order of paths.
pub(super) fn list_changed_paths(
    tree: &FileTree,
    delta: &Delta,
    packed: &Packed,
    base: &Baseline<'_>,
    stack: &Stack,
) -> Result<Vec<PathChange>> {
    let mut changes = Vec::new();
    for (index, node) in tree.nodes.iter().enumerate() {
        let path = tree.path(index);
        for name in delta.missing.get(&index).into_iter().flatten() {
            list_removed(stack, join_path(&path, name), &mut changes)?;
        }
        if !delta.emit.get(index).is_some_and(|emit| *emit) {
            continue;
        }
        if matches!(node.kind, NodeKind::Whiteout) {
            list_removed(stack, path, &mut changes)?;
            continue;
        }
        let directory = matches!(node.kind, NodeKind::Directory { .. });
        let below = match index {
            0 => Some(Ino::ROOT),
            _ => stack.find(&path)?,
        };
        let below = below.map(|ino| stack.attr(ino)).transpose()?;
        // A directory that replaces another kind of entry, or is replaced by one, has entries of
        // its own.
        let is_alike = |attr: &Attr| (attr.kind() == mode::DIRECTORY) == directory;
        let first = &tree.nodes[node.link.unwrap_or(index)];
        let after = match &first.kind {
            NodeKind::File { size, .. } => Some(*size),
            _ => None,
        };
        let (change, before) = match below {
            Some(attr) if is_alike(&attr) => {
                let Some(change) = find_change(first, packed, base, stack, &attr)? else {
                    continue;
                };
                (change, file_size(&attr))
            }
            Some(_) => {
                list_removed(stack, path.clone(), &mut changes)?;
                (EntryChange::Added, None)
            }
            None => (EntryChange::Added, None),
        };
        changes.push(PathChange {
            path,
            change,
            directory,
            before,
            after,
        });
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(changes)
}

/// Returns how a node differs from the entry below it; `None` for a directory that only leads to a
/// difference.
fn find_change(
    node: &FileNode,
    packed: &Packed,
    base: &Baseline<'_>,
    stack: &Stack,
    attr: &Attr,
) -> Result<Option<EntryChange>> {
    let same_content = match &node.kind {
        NodeKind::Directory { .. } => true,
        NodeKind::File { size, content } => {
            attr.kind() == mode::FILE
                && attr.size == *size
                && base.has_content(packed, content, attr.ino, *size)?
        }
        NodeKind::Symlink(target) => {
            attr.kind() == mode::SYMLINK && stack.symlink_target(attr.ino)? == &**target
        }
        NodeKind::Special(rdev) => attr.kind() == node.meta.mode & mode::TYPE && attr.rdev == *rdev,
        NodeKind::Whiteout => false,
    };
    if !same_content {
        return Ok(Some(EntryChange::Modified));
    }
    let meta = stack.meta(attr.ino)?;
    let but_for_time = Meta {
        mtime: meta.mtime,
        ..node.meta.clone()
    };
    Ok(match (node.meta == meta, but_for_time == meta) {
        (true, _) if matches!(node.kind, NodeKind::Directory { .. }) => None,
        // A hard link that leads elsewhere than before.
        (true, _) => Some(EntryChange::Attributes),
        (false, true) => Some(EntryChange::Times),
        (false, false) => Some(EntryChange::Attributes),
    })
}

fn file_size(attr: &Attr) -> Option<u64> {
    (attr.kind() == mode::FILE).then_some(attr.size)
}

fn join_path(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        [] => name.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}

/// Lists a path of the stack that is gone, with all below it.
fn list_removed(stack: &Stack, path: Vec<u8>, changes: &mut Vec<PathChange>) -> Result<()> {
    let Some(ino) = stack.find(&path)? else {
        return Ok(());
    };
    let mut pending = vec![(path, ino)];
    while let Some((path, ino)) = pending.pop() {
        let attr = stack.attr(ino)?;
        let directory = attr.kind() == mode::DIRECTORY;
        if directory {
            stack.list(ino, 0, |_, name, child| {
                pending.push((join_path(&path, name), child));
                Ok(true)
            })?;
        }
        changes.push(PathChange {
            path,
            change: EntryChange::Removed,
            directory,
            before: file_size(&attr),
            after: None,
        });
    }
    Ok(())
}
