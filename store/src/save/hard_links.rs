//! Hard links between changed and unchanged files.
//!
//! A layer cannot link to a file of another layer, and a file's record stores its number of names.
//! So if a name of a file is removed, replaced or moved, all of its other names become part of the
//! difference. Otherwise a renamed directory would contain copies of shared files, and `st_nlink`
//! would count removed names.

use std::collections::{HashMap, HashSet};

use super::delta::{Baseline, Delta, MissingEntries, diff_but, diff_tree};
use super::exclude::{add_child, directory_node, find_child, join_path};
use super::moved_files::Moved;
use super::overlay_redirects::known_node;
use super::pipeline::Packed;
use super::tree::{FileTree, NodeKind};
use crate::error::Result;
use crate::layer::mode;
use crate::stack::{Ino, Stack};

/// Compares a tree with the stack below it, as [`diff_tree`], and keeps the names of its files together.
///
/// Also returns the tree that the difference is one of, if it needs more nodes than `tree` has:
/// unchanged names of files that another name of changed. They are behind the nodes of `tree`, and
/// do not count as modified: nobody changed them.
pub(super) fn diff_links(
    tree: &FileTree,
    moved: &Moved,
    base: &Baseline<'_>,
    packed: &Packed,
    complete: bool,
    deletions: MissingEntries,
) -> Result<(Delta, Option<FileTree>)> {
    let delta = diff_tree(tree, base, packed, complete, deletions)?;
    let stack = base.stack();
    // A complete tree has all names there are.
    let has_all = complete && deletions == MissingEntries::Record;
    if has_all || stack.layers().is_empty() {
        return Ok((delta, None));
    }
    let torn = find_split_links(tree, &delta, moved, stack)?;
    if torn.is_empty() {
        return Ok((delta, None));
    }
    let mut joiner = Joiner {
        tree: tree.clone(),
        delta: &delta,
        stack,
        torn,
        names: HashMap::new(),
        absent: Vec::new(),
    };
    for (&node, &ino) in moved {
        joiner.names.entry(ino).or_default().push(node);
    }
    joiner.find()?;
    joiner.add()?;
    joiner.link();
    let Joiner {
        tree: joined, torn, ..
    } = joiner;
    let mut delta = diff_but(&torn, &joined, base, packed, complete, deletions)?;
    let added = joined.nodes.iter().zip(&delta.emit).skip(tree.nodes.len());
    let followed =
        added.filter(|(node, emit)| **emit && !matches!(node.kind, NodeKind::Directory { .. }));
    delta.modified -= followed.count() as u64;
    Ok((delta, Some(joined)))
}

/// The files of the stack that lose a name, or have got one elsewhere.
fn find_split_links(
    tree: &FileTree,
    delta: &Delta,
    moved: &Moved,
    stack: &Stack,
) -> Result<HashSet<Ino>> {
    let mut gone = Vec::new();
    for (index, node) in tree.nodes.iter().enumerate().skip(1) {
        if !delta.emit[index] {
            continue;
        }
        let Some(ino) = stack.find(&tree.path(index))? else {
            continue;
        };
        let stays = matches!(node.kind, NodeKind::Directory { .. })
            && stack.attr(ino)?.kind() == mode::DIRECTORY;
        if !stays {
            gone.push(ino);
        }
    }
    for (directory, names) in &delta.missing {
        let path = tree.path(*directory);
        for name in names {
            gone.extend(stack.find(&join_path(&path, name))?);
        }
    }
    let mut torn: HashSet<Ino> = moved.values().copied().collect();
    while let Some(ino) = gone.pop() {
        let attr = stack.attr(ino)?;
        if attr.kind() == mode::DIRECTORY {
            stack.list(ino, 0, |_, _, child| {
                gone.push(child);
                Ok(true)
            })?;
        } else if attr.links > 1 {
            torn.insert(ino);
        }
    }
    Ok(torn)
}

struct Joiner<'a> {
    tree: FileTree,
    delta: &'a Delta,
    stack: &'a Stack,
    torn: HashSet<Ino>,
    /// The nodes of each torn file that still lead to it.
    names: HashMap<Ino, Vec<usize>>,
    /// Unchanged names that the tree has no node for: directory, name and inode.
    absent: Vec<(Vec<u8>, Box<[u8]>, Ino)>,
}

impl Joiner<'_> {
    /// Walks the stack for names of torn files that the difference leaves as they are.
    fn find(&mut self) -> Result<()> {
        let mut pending = vec![(Ino::ROOT, Vec::new(), Some(0))];
        while let Some((directory, path, node)) = pending.pop() {
            let mut children = Vec::new();
            self.stack.list(directory, 0, |_, name, ino| {
                children.push((Box::<[u8]>::from(name), ino));
                Ok(true)
            })?;
            let missing = node.and_then(|node| self.delta.missing.get(&node));
            let missing: HashSet<&[u8]> = missing.into_iter().flatten().map(|it| &**it).collect();
            for (name, ino) in children {
                let is_directory = self.stack.attr(ino)?.kind() == mode::DIRECTORY;
                let child = node.and_then(|node| {
                    let place = find_child(&self.tree, node, &name).ok()?;
                    Some(self.tree.children(node)[place])
                });
                let child_is_directory = child.is_some_and(|child| {
                    matches!(self.tree.nodes[child].kind, NodeKind::Directory { .. })
                });
                match child {
                    _ if missing.contains(&*name) => {}
                    None if is_directory => pending.push((ino, join_path(&path, &name), None)),
                    None if self.torn.contains(&ino) => {
                        self.absent.push((path.clone(), name, ino));
                    }
                    Some(child) if is_directory && child_is_directory => {
                        pending.push((ino, join_path(&path, &name), Some(child)));
                    }
                    Some(child) if !self.delta.emit[child] && self.torn.contains(&ino) => {
                        self.keep(child, ino)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Takes a node of the tree that changes nothing for a name of a torn file.
    fn keep(&mut self, child: usize, ino: Ino) -> Result<()> {
        if self.tree.is_left_out(child) {
            let node = &self.tree.nodes[child];
            if node.link.is_some() || node.links > 1 {
                return Ok(());
            }
            // The stack's file stays there, which the node is not.
            let (name, parent) = (node.name.clone(), node.parent);
            self.tree.nodes[child] = known_node(self.stack, ino, name, parent)?;
        }
        self.names.entry(ino).or_default().push(child);
        Ok(())
    }

    fn add(&mut self) -> Result<()> {
        for (path, name, ino) in std::mem::take(&mut self.absent) {
            let Some(parent) = directory_node(&mut self.tree, self.stack, &path)? else {
                continue;
            };
            let Err(place) = find_child(&self.tree, parent, &name) else {
                continue;
            };
            let new = self.tree.nodes.len();
            let node = known_node(self.stack, ino, name, parent)?;
            self.tree.nodes.push(node);
            add_child(&mut self.tree, parent, place, new);
            self.names.entry(ino).or_default().push(new);
        }
        Ok(())
    }

    fn link(&mut self) {
        for nodes in self.names.values() {
            // The content is only at the first node of a group that there was before.
            let is_first = |node: &&usize| self.tree.nodes[**node].link.is_none();
            let Some(&first) = nodes.iter().filter(is_first).min() else {
                continue;
            };
            for &node in nodes {
                self.tree.nodes[node].link = (node != first).then_some(first);
                self.tree.nodes[node].links = 1;
            }
            self.tree.nodes[first].links = nodes.len() as u32;
        }
    }
}
