//! Renamed directories of an overlay, as what they contain.

use std::collections::HashMap;

use super::exclude::{Exclude, as_path, join_path};
use super::links::Moved;
use super::tree::{FileContent, FileNode, FileTree, NodeKind, Stamp};
use crate::error::Result;
use crate::layer::{NewFilePiece, mode};
use crate::stack::{Ino, Stack};

/// Turns directories that an overlay has renamed into what they are: new directories that contain
/// what the old place has in the stack, changed by the entries they list themselves.
///
/// `redirects` names, by node, where the lower part is: an absolute path, or a name next to the
/// directory itself. Only metadata is copied, and not of what is left out at the new place.
///
/// Returns the files with several names among what was added: [`super::diff_links`] links them.
pub(super) fn graft_redirects(
    tree: &mut FileTree,
    redirects: &HashMap<usize, Vec<u8>>,
    stack: &Stack,
    exclude: &dyn Exclude,
) -> Result<Moved> {
    let mut moved = Moved::new();
    // Where each directory's lower part is; parents come before their children.
    let mut lower: HashMap<usize, Option<Ino>> = HashMap::from([(0, Some(Ino::ROOT))]);
    let mut nodes = redirects.keys().copied().collect::<Vec<_>>();
    nodes.sort_unstable();
    for node in nodes {
        let path = &redirects[&node];
        let origin = if path.starts_with(b"/") {
            stack.find(path)?
        } else {
            match lower_of(tree, &mut lower, stack, tree.nodes[node].parent)? {
                Some(parent) => stack.lookup(parent, path)?,
                None => None,
            }
        };
        lower.insert(node, origin);
        graft_directory(tree, node, origin, (redirects, &mut moved), stack, exclude)?;
    }
    Ok(moved)
}

fn lower_of(
    tree: &FileTree,
    lower: &mut HashMap<usize, Option<Ino>>,
    stack: &Stack,
    node: usize,
) -> Result<Option<Ino>> {
    if let Some(known) = lower.get(&node) {
        return Ok(*known);
    }
    let found = match lower_of(tree, lower, stack, tree.nodes[node].parent)? {
        Some(parent) => stack.lookup(parent, &tree.nodes[node].name)?,
        None => None,
    };
    lower.insert(node, found);
    Ok(found)
}

/// Adds to a directory of the tree what `origin` has and the tree neither has nor removes.
fn graft_directory(
    tree: &mut FileTree,
    node: usize,
    origin: Option<Ino>,
    (redirects, moved): (&HashMap<usize, Vec<u8>>, &mut Moved),
    stack: &Stack,
    exclude: &dyn Exclude,
) -> Result<()> {
    let mut pending = vec![(node, origin)];
    while let Some((node, origin)) = pending.pop() {
        let own: HashMap<Box<[u8]>, usize> = tree
            .children(node)
            .iter()
            .map(|&child| (tree.nodes[child].name.clone(), child))
            .collect();
        let mut children: Vec<usize> = own
            .values()
            .copied()
            .filter(|&child| !matches!(tree.nodes[child].kind, NodeKind::Whiteout))
            .collect();
        let mut below = Vec::new();
        if let Some(origin) = origin {
            stack.list(origin, 0, |_, name, ino| {
                below.push((Box::<[u8]>::from(name), ino));
                Ok(true)
            })?;
        }
        for (name, ino) in below {
            match own.get(&name) {
                Some(&child) => {
                    let merges = matches!(
                        tree.nodes[child].kind,
                        NodeKind::Directory { opaque: false, .. }
                    ) && !redirects.contains_key(&child)
                        && stack.attr(ino)?.kind() == mode::DIRECTORY;
                    if merges {
                        pending.push((child, Some(ino)));
                    }
                }
                None if is_excluded(tree, node, &name, stack, ino, exclude)? => {}
                None => {
                    let child = tree.nodes.len();
                    let new = known_node(stack, ino, name, node)?;
                    if matches!(new.kind, NodeKind::Directory { .. }) {
                        pending.push((child, Some(ino)));
                    } else if stack.attr(ino)?.links > 1 {
                        moved.insert(child, ino);
                    }
                    tree.nodes.push(new);
                    children.push(child);
                }
            }
        }
        children.sort_by(|a, b| tree.nodes[*a].name.cmp(&tree.nodes[*b].name));
        if let NodeKind::Directory {
            children: slot,
            opaque,
        } = &mut tree.nodes[node].kind
        {
            *slot = children;
            *opaque = true;
        }
    }
    Ok(())
}

/// Whether an entry of the stack is left out at its place in the tree.
fn is_excluded(
    tree: &FileTree,
    parent: usize,
    name: &[u8],
    stack: &Stack,
    ino: Ino,
    exclude: &dyn Exclude,
) -> Result<bool> {
    if exclude.is_empty() {
        return Ok(false);
    }
    let directory = stack.attr(ino)?.kind() == mode::DIRECTORY;
    let path = join_path(&tree.path(parent), name);
    Ok(exclude.excludes(as_path(&path), directory))
}

/// A node for an entry of the stack.
pub(super) fn known_node(
    stack: &Stack,
    ino: Ino,
    name: Box<[u8]>,
    parent: usize,
) -> Result<FileNode> {
    let attr = stack.attr(ino)?;
    let kind = match attr.kind() {
        mode::DIRECTORY => NodeKind::Directory {
            children: Vec::new(),
            opaque: true,
        },
        mode::FILE => {
            let content = stack
                .pieces(ino, 0..attr.size)?
                .map(|piece| {
                    let piece = piece?;
                    Ok(match piece.location {
                        Some(location) => NewFilePiece::Chunk(location),
                        None => NewFilePiece::Hole(piece.end - piece.start),
                    })
                })
                .collect::<Result<_>>()?;
            NodeKind::File {
                size: attr.size,
                content: FileContent::Known(content),
            }
        }
        mode::SYMLINK => NodeKind::Symlink(stack.symlink_target(ino)?.into()),
        _ => NodeKind::Special(attr.rdev),
    };
    Ok(FileNode {
        name,
        parent,
        meta: stack.whole_meta(ino)?,
        kind,
        stamp: Stamp::default(),
        sparse: false,
        link: None,
        links: 1,
    })
}
