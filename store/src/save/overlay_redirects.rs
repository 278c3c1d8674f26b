//! Replaces renamed directories of an overlay by their contents.

use std::collections::HashMap;

use super::exclude::{Exclude, as_path, join_path};
use super::moved_files::Moved;
use super::tree::{FileContent, FileNode, FileTree, NodeKind, Stamp};
use crate::error::Result;
use crate::layer::{NewFilePiece, mode};
use crate::stack::{Ino, Stack};

/// Turns directories that an overlay has renamed into new directories, which contain the entries of
/// the old place in the stack, changed by the entries that they list themselves.
///
/// `redirects` maps a node to its lower directory: an absolute path, or a name in the same parent.
/// Only metadata is copied, and no entry that is left out at the new place. Devices that `stack`
/// does not show move with their directory, because its user could not delete them.
///
/// Returns the added files that have several names:
/// [`diff_links`](super::hard_links::diff_links) links them.
pub(super) fn graft_redirects(
    tree: &mut FileTree,
    redirects: &HashMap<usize, Vec<u8>>,
    stack: &Stack,
    exclude: &dyn Exclude,
) -> Result<Moved> {
    let stack = &stack.whole();
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
                Some(parent) => lookup(stack, parent, path)?,
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
    mut node: usize,
) -> Result<Option<Ino>> {
    // Not by recursion: a job may nest directories as deeply as it likes.
    let mut unknown = Vec::new();
    let mut found = loop {
        if let Some(known) = lower.get(&node) {
            break *known;
        }
        unknown.push(node);
        node = tree.nodes[node].parent;
    };
    for node in unknown.into_iter().rev() {
        found = match found {
            Some(parent) => lookup(stack, parent, &tree.nodes[node].name)?,
            None => None,
        };
        lower.insert(node, found);
    }
    Ok(found)
}

/// Looks a name up; `None` if `parent` is not a directory in the stack.
fn lookup(stack: &Stack, parent: Ino, name: &[u8]) -> Result<Option<Ino>> {
    match stack.attr(parent)?.kind() {
        mode::DIRECTORY => stack.lookup(parent, name),
        _ => Ok(None),
    }
}

/// Adds entries of `origin` to a directory of the tree, unless the tree has or removes them.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::layer::{EntryTarget, Layer, LayerBuilder, Meta, NewEntry, NewInode, NewKind, ROOT};
    use crate::save::exclude::Everything;

    const DEVICE: u64 = 0x103;

    fn meta(mode: u32) -> Meta {
        Meta {
            mode,
            ..Meta::default()
        }
    }

    fn node(name: &[u8], parent: usize, opaque: bool) -> FileNode {
        FileNode {
            name: name.into(),
            parent,
            meta: meta(mode::DIRECTORY | 0o755),
            kind: NodeKind::Directory {
                children: Vec::new(),
                opaque,
            },
            stamp: Stamp::default(),
            sparse: false,
            link: None,
            links: 1,
        }
    }

    /// Builds a tree of `depth` nested directories named `d`, with one named `end` at the bottom.
    fn deep(depth: usize, end: &[u8]) -> FileTree {
        let mut tree = FileTree::default();
        tree.nodes.push(node(b"", 0, false));
        for number in 0..=depth {
            let name: &[u8] = if number == depth { end } else { b"d" };
            tree.nodes.push(node(name, number, false));
            if let NodeKind::Directory { children, .. } = &mut tree.nodes[number].kind {
                children.push(number + 1);
            }
        }
        tree
    }

    /// `depth` directories named `d` in each other, and in the last one `old` with a device.
    fn stack(depth: usize) -> Stack {
        let (directory, device) = (meta(mode::DIRECTORY | 0o755), meta(mode::CHARACTER | 0o600));
        let mut builder = LayerBuilder::new(&directory, []).unwrap();
        let mut inode = ROOT;
        for number in 0..=depth {
            let link = EntryTarget::New(NewInode {
                meta: &directory,
                kind: NewKind::Directory { opaque: false },
            });
            let name: &[u8] = if number == depth { b"old" } else { b"d" };
            inode = builder.fill(inode, &[NewEntry { name, link }]).unwrap()[0];
        }
        let link = EntryTarget::New(NewInode {
            meta: &device,
            kind: NewKind::Special(DEVICE),
        });
        let entries = [NewEntry {
            name: b"null",
            link,
        }];
        builder.fill(inode, &entries).unwrap();
        let built = builder.finish().unwrap();
        let layer = Layer::open(built.id, built.bytes).unwrap();
        Stack::new(vec![Arc::new(layer)]).unwrap()
    }

    #[test]
    fn a_directory_renamed_in_a_deeply_nested_one_takes_no_stack() {
        // Recursion would need some 100 bytes of stack for each level.
        const DEPTH: usize = 200_000;
        let mut tree = deep(DEPTH, b"new");
        let redirects = HashMap::from([(DEPTH + 1, b"absent".to_vec())]);
        let stack = Stack::new(Vec::new()).unwrap();
        graft_redirects(&mut tree, &redirects, &stack, &Everything).unwrap();
        assert!(tree.children(DEPTH + 1).is_empty());
    }

    #[test]
    fn devices_that_were_not_shown_move_with_their_directory() {
        let mut tree = deep(3, b"new");
        let redirects = HashMap::from([(4, b"old".to_vec())]);
        let stack = stack(3).without_privileges();
        graft_redirects(&mut tree, &redirects, &stack, &Everything).unwrap();
        let moved: Vec<_> = tree.children(4).iter().map(|&it| &tree.nodes[it]).collect();
        assert_eq!(moved.len(), 1);
        assert_eq!(&*moved[0].name, b"null");
        assert_eq!(moved[0].kind, NodeKind::Special(DEVICE));
        assert_eq!(moved[0].meta.mode, mode::CHARACTER | 0o600);
    }
}
