//! Entries that a save leaves out.

use std::path::Path;

use super::tree::{FileNode, FileTree, NodeKind, Stamp};
use crate::error::Result;
use crate::layer::mode;
use crate::stack::{Ino, Stack};

/// Says which entries a save leaves out; with a directory goes all that is in it.
pub trait Exclude: std::fmt::Debug + Send + Sync {
    /// Whether the entry at `path`, relative to the root of the save, is left out.
    fn excludes(&self, path: &Path, directory: bool) -> bool;

    /// Whether nothing is ever left out.
    fn is_empty(&self) -> bool {
        false
    }
}

/// Leaves nothing out.
#[derive(Debug, Clone, Copy)]
pub struct Everything;

impl Exclude for Everything {
    fn excludes(&self, _: &Path, _: bool) -> bool {
        false
    }

    fn is_empty(&self) -> bool {
        true
    }
}

/// Adds removals to a scanned tree for entries that the stack has and the save excludes.
///
/// Without them, an entry that was saved before it was excluded would stay in the cache for ever:
/// the upper directory of a mount does not list it, and a path that was never restored removes
/// nothing. A tree whose missing entries count as deleted needs no removals. Reads the directories
/// of the stack, or nothing if nothing is excluded.
pub(super) fn remove_excluded(
    tree: &mut FileTree,
    stack: &Stack,
    exclude: &dyn Exclude,
) -> Result<()> {
    if exclude.is_empty() || stack.layers().is_empty() {
        return Ok(());
    }
    // A directory of the stack, its path, and its existing nodes from the root downwards.
    let mut pending = vec![(Ino::ROOT, Vec::<u8>::new())];
    let mut removals = Vec::new();
    while let Some((directory, path)) = pending.pop() {
        let mut children = Vec::new();
        stack.list(directory, 0, |_, name, ino| {
            children.push((Box::<[u8]>::from(name), ino));
            Ok(true)
        })?;
        for (name, ino) in children {
            let is_directory = stack.attr(ino)?.kind() == mode::DIRECTORY;
            let below = join_path(&path, &name);
            if exclude.excludes(as_path(&below), is_directory) {
                removals.push((path.clone(), name));
            } else if is_directory {
                pending.push((ino, below));
            }
        }
    }
    for (parent, name) in removals {
        if let Some(parent) = directory_node(tree, stack, &parent)? {
            insert_removal(tree, parent, name);
        }
    }
    Ok(())
}

/// A path and a name in it.
pub(super) fn join_path(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path {
        [] => name.to_vec(),
        _ => [path, b"/", name].concat(),
    }
}

/// Bytes as a path.
pub(super) fn as_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// Returns the tree's node for a directory of the stack, and adds it with its parents if necessary;
/// `None` if the tree hides that part of the stack.
pub(super) fn directory_node(
    tree: &mut FileTree,
    stack: &Stack,
    path: &[u8],
) -> Result<Option<usize>> {
    let mut node = 0;
    let mut ino = Ino::ROOT;
    for name in path.split(|byte| *byte == b'/').filter(|n| !n.is_empty()) {
        let Some(below) = stack.lookup(ino, name)? else {
            return Ok(None);
        };
        ino = below;
        let known = find_child(tree, node, name);
        node = match known {
            Ok(place) => match &tree.nodes[tree.children(node)[place]].kind {
                NodeKind::Directory { opaque: false, .. } => tree.children(node)[place],
                _ => return Ok(None),
            },
            Err(place) => {
                let new = tree.nodes.len();
                tree.nodes.push(FileNode {
                    name: name.into(),
                    parent: node,
                    meta: stack.meta(ino)?,
                    kind: NodeKind::Directory {
                        children: Vec::new(),
                        opaque: false,
                    },
                    stamp: Stamp::default(),
                    sparse: false,
                    link: None,
                    links: 1,
                });
                add_child(tree, node, place, new);
                new
            }
        };
    }
    Ok(Some(node))
}

/// Adds a removal, unless the directory has an entry of that name.
fn insert_removal(tree: &mut FileTree, parent: usize, name: Box<[u8]>) {
    let Err(place) = find_child(tree, parent, &name) else {
        return;
    };
    let new = tree.nodes.len();
    tree.nodes.push(FileNode {
        name,
        parent,
        meta: tree.nodes[parent].meta.clone(),
        kind: NodeKind::Whiteout,
        stamp: Stamp::default(),
        sparse: false,
        link: None,
        links: 1,
    });
    add_child(tree, parent, place, new);
}

/// Where a name is among a directory's children, or where it would be.
pub(super) fn find_child(tree: &FileTree, node: usize, name: &[u8]) -> Result<usize, usize> {
    tree.children(node)
        .binary_search_by(|&child| (*tree.nodes[child].name).cmp(name))
}

pub(super) fn add_child(tree: &mut FileTree, node: usize, place: usize, child: usize) {
    if let NodeKind::Directory { children, .. } = &mut tree.nodes[node].kind {
        children.insert(place, child);
    }
}
