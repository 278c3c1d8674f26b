//! From a tree and its difference to a layer.

use std::collections::HashMap;

use super::delta::{Baseline, Delta};
use super::pipeline::Packed;
use super::tree::{FileContent, FileNode, FileTree, NodeKind};
use crate::error::{Error, Result};
use crate::layer::{
    BuiltLayer, EntryTarget, LayerBuilder, NewEntry, NewFilePiece, NewInode, NewKind, ROOT,
};

/// The planned entry for a name of a directory.
struct Planned<'a> {
    name: &'a [u8],
    /// `None` for a removal.
    node: Option<usize>,
    content: Vec<NewFilePiece>,
}

/// Builds the layer that has the effect of `delta`.
pub(super) fn build_layer(
    tree: &FileTree,
    delta: &Delta,
    packed: &Packed,
    base: &Baseline<'_>,
) -> Result<BuiltLayer> {
    let packs = packed
        .new_packs
        .iter()
        .chain(packed.known_packs.values())
        .copied();
    let mut builder =
        LayerBuilder::new(&tree.nodes[0].meta, base.packs().into_iter().chain(packs))?;
    // The inode in the layer of each group of hard links, by its first node.
    let mut linked: HashMap<usize, u32> = HashMap::new();
    let mut pending = vec![(0, ROOT)];
    while let Some((node, inode)) = pending.pop() {
        let planned = plan_entry(tree, delta, packed, node)?;
        let mut entries = Vec::with_capacity(planned.len());
        let mut linked_here: HashMap<usize, usize> = HashMap::new();
        for (position, plan) in planned.iter().enumerate() {
            let link = match plan.node {
                None => EntryTarget::Whiteout,
                Some(index) => {
                    let first = tree.nodes[index].link.unwrap_or(index);
                    match (linked.get(&first), linked_here.get(&first)) {
                        (Some(inode), _) => EntryTarget::Existing(*inode),
                        (None, Some(position)) => EntryTarget::SameAs(*position),
                        (None, None) => {
                            if tree.nodes[first].links > 1 {
                                linked_here.insert(first, position);
                            }
                            EntryTarget::New(new_inode(&tree.nodes[first], &plan.content)?)
                        }
                    }
                }
            };
            entries.push(NewEntry {
                name: plan.name,
                link,
            });
        }
        let inodes = builder.fill(inode, &entries)?;
        linked.extend(
            linked_here
                .into_iter()
                .map(|(first, position)| (first, inodes[position])),
        );
        let directories = planned.iter().zip(inodes).filter_map(|(plan, inode)| {
            let node = plan.node?;
            matches!(tree.nodes[node].kind, NodeKind::Directory { .. }).then_some((node, inode))
        });
        let first = pending.len();
        pending.extend(directories);
        pending[first..].reverse();
    }
    builder.finish()
}

fn plan_entry<'a>(
    tree: &'a FileTree,
    delta: &'a Delta,
    packed: &Packed,
    node: usize,
) -> Result<Vec<Planned<'a>>> {
    let mut planned = Vec::new();
    for &child in tree.children(node) {
        if !delta.emit[child] {
            continue;
        }
        let entry = &tree.nodes[child];
        let mut content = Vec::new();
        let index = match &entry.kind {
            NodeKind::Whiteout => None,
            _ => {
                let first = entry.link.unwrap_or(child);
                if let NodeKind::File { content: read, .. } = &tree.nodes[first].kind {
                    content = locate_content(tree, first, read, packed)?;
                }
                Some(child)
            }
        };
        planned.push(Planned {
            name: &entry.name,
            node: index,
            content,
        });
    }
    for name in delta.missing.get(&node).into_iter().flatten() {
        planned.push(Planned {
            name,
            node: None,
            content: Vec::new(),
        });
    }
    planned.sort_by_key(|planned| planned.name);
    Ok(planned)
}

fn locate_content(
    tree: &FileTree,
    node: usize,
    content: &FileContent,
    packed: &Packed,
) -> Result<Vec<NewFilePiece>> {
    match content {
        FileContent::Known(known) => Ok(known.clone()),
        FileContent::Unread => Err(Error::Changed {
            path: tree.os_path(node),
        }),
        FileContent::LeftOut => Err(Error::damaged(
            "the tree",
            "an excluded file is part of the difference",
        )),
        FileContent::Read(pieces) => pieces
            .iter()
            .map(|(id, length)| match id {
                None => Ok(NewFilePiece::Hole(*length)),
                Some(id) => packed
                    .chunks
                    .get(id)
                    .map(|at| NewFilePiece::Chunk(*at))
                    .ok_or_else(|| {
                        Error::damaged(format!("chunk {id}"), "it was read but is in no pack")
                    }),
            })
            .collect(),
    }
}

fn new_inode<'a>(node: &'a FileNode, content: &'a [NewFilePiece]) -> Result<NewInode<'a>> {
    let kind = match &node.kind {
        // Removals are listed name by name, so the directory need not be opaque, and entries that
        // another job adds to it at the same time stay visible.
        NodeKind::Directory { .. } => NewKind::Directory { opaque: false },
        NodeKind::File { size, .. } => NewKind::File {
            size: *size,
            content,
        },
        NodeKind::Symlink(target) => NewKind::Symlink(target),
        NodeKind::Special(rdev) => NewKind::Special(*rdev),
        NodeKind::Whiteout => {
            return Err(Error::damaged("the tree", "a removal has attributes"));
        }
    };
    Ok(NewInode {
        meta: &node.meta,
        kind,
    })
}
