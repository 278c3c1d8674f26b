//! Owners of a tree whose stack was shown as another's, as they were saved.

use std::collections::HashMap;

use super::tree::FileTree;
use crate::error::Result;
use crate::layer::mode;
use crate::stack::{Ino, Owner, Stack};

/// Undoes [`Stack::shown_as`] for a tree that was scanned where the stack was shown as `owner`'s.
///
/// What belongs to `owner` gets the owner back that the stack has for it; what the stack does not
/// have gets that of the stack's root, as if whoever filled the cache had made it. User and group
/// are looked at apart, and another's stay: somebody gave the entry away on purpose.
///
/// `redirects` are those of the scan. An entry that was renamed counts as new, unless it is a
/// directory with such a note.
pub(super) fn give_back(
    tree: &mut FileTree,
    redirects: &HashMap<usize, Vec<u8>>,
    stack: &Stack,
    owner: Owner,
) -> Result<()> {
    let mut below = vec![None; tree.nodes.len()];
    // What any of the names of an inode leads to in the stack, by the first of them.
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
