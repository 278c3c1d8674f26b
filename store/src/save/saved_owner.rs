//! Restores the saved owners of a tree that was shown as owned by another user.

use std::collections::HashMap;

use super::tree::FileTree;
use crate::error::Result;
use crate::layer::mode;
use crate::stack::{Ino, Owner, Stack};

/// Reverts [`Stack::shown_as`] for a tree that was scanned where the stack was shown as `owner`'s.
///
/// Entries that belong to `owner` get the owner that they have in the stack. New entries get the
/// owner of the stack's root, as if the creator of the cache had made them. User and group are
/// handled separately. Entries of any other owner are unchanged: somebody gave them away on
/// purpose.
///
/// `redirects` are those of the scan. A renamed entry counts as new, unless it is a directory with
/// a redirect.
pub(super) fn give_back(
    tree: &mut FileTree,
    redirects: &HashMap<usize, Vec<u8>>,
    stack: &Stack,
    owner: Owner,
) -> Result<()> {
    let mut below = vec![None; tree.nodes.len()];
    // The inode of the stack for each hard-linked file, by the first name that leads to one.
    let mut linked: HashMap<usize, Ino> = HashMap::new();
    for (index, node) in tree.nodes.iter().enumerate() {
        let directory = below.get(node.parent).copied().flatten();
        below[index] = match (index, redirects.get(&index)) {
            (0, _) => Some(Ino::ROOT),
            (_, Some(path)) if path.starts_with(b"/") => stack.find(path)?,
            (_, Some(name)) => lookup_entry(stack, directory, name)?,
            (_, None) => lookup_entry(stack, directory, &node.name)?,
        };
        if let (Some(ino), true) = (below[index], node.links > 1 || node.link.is_some()) {
            linked.entry(node.link.unwrap_or(index)).or_insert(ino);
        }
    }
    let root = stack.meta(Ino::ROOT)?;
    for (index, node) in tree.nodes.iter_mut().enumerate() {
        let first = node.link.unwrap_or(index);
        let saved = match linked.get(&first).copied().or(below[index]) {
            Some(ino) => stack.meta(ino)?,
            None => root.clone(),
        };
        if node.meta.uid == owner.uid {
            node.meta.uid = saved.uid;
        }
        if node.meta.gid == owner.gid {
            node.meta.gid = saved.gid;
        }
    }
    Ok(())
}

fn lookup_entry(stack: &Stack, directory: Option<Ino>, name: &[u8]) -> Result<Option<Ino>> {
    match directory {
        Some(ino) if stack.attr(ino)?.kind() == mode::DIRECTORY => stack.lookup(ino, name),
        _ => Ok(None),
    }
}
