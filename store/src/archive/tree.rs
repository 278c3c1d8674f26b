//! The tree that an archive's members make, one after the other.

use std::collections::{BTreeMap, HashMap};

use super::error::ArchiveError;
use super::failure;
use crate::error::Result;
use crate::layer::{Meta, mode};
use crate::save::{FileContent, FileNode, FileTree, NodeKind, Stamp};

/// Largest number of entries; bounds the memory for a hostile archive.
const MOST_ENTRIES: usize = 1 << 24;
/// Directories that no member speaks of.
const IMPLIED_MODE: u32 = mode::DIRECTORY | 0o755;

/// A growing tree whose entries may be replaced, as `tar x` replaces files.
///
/// Nodes are never removed: a replaced node has no name any more, but may still be the target of
/// another name's hard link.
pub(super) struct GrowingTree {
    /// The nodes; their `children` are not filled in.
    pub(super) nodes: FileTree,
    names: HashMap<usize, BTreeMap<Box<[u8]>, usize>>,
}

impl GrowingTree {
    pub(super) fn new() -> Self {
        let mut tree = Self {
            nodes: FileTree::default(),
            names: HashMap::new(),
        };
        let meta = Meta {
            mode: IMPLIED_MODE,
            ..Meta::default()
        };
        tree.push(0, b"", meta, directory_node());
        tree
    }

    fn push(&mut self, parent: usize, name: &[u8], meta: Meta, kind: NodeKind) -> usize {
        self.nodes.nodes.push(FileNode {
            name: name.into(),
            parent,
            meta,
            kind,
            stamp: Stamp::default(),
            sparse: false,
            link: None,
            links: 1,
        });
        self.nodes.nodes.len() - 1
    }

    fn is_directory(&self, node: usize) -> bool {
        matches!(self.nodes.nodes[node].kind, NodeKind::Directory { .. })
    }

    fn child(&self, node: usize, name: &[u8]) -> Option<usize> {
        self.names.get(&node)?.get(name).copied()
    }

    /// Adds an entry, or replaces one; returns its node.
    pub(super) fn put(&mut self, path: &[Vec<u8>], meta: Meta, kind: NodeKind) -> Result<usize> {
        let refused = |what: &str| Err(failure::refused(&path.join(&b'/'), what));
        let is_directory = matches!(kind, NodeKind::Directory { .. });
        let Some((name, parents)) = path.split_last() else {
            if !is_directory {
                return refused("would replace the cached directory itself");
            }
            self.nodes.nodes[0].meta = meta;
            return Ok(0);
        };
        if self.nodes.nodes.len() + path.len() > MOST_ENTRIES {
            return Err(ArchiveError::TooLarge {
                limit: format!("{MOST_ENTRIES} entries"),
            }
            .into());
        }
        let mut parent = 0;
        for name in parents {
            parent = match self.child(parent, name) {
                Some(node) if self.is_directory(node) => node,
                Some(_) => return refused("has a parent that is not a directory"),
                None => {
                    let meta = Meta {
                        mode: IMPLIED_MODE,
                        xattrs: Default::default(),
                        ..meta.clone()
                    };
                    self.name(parent, name, meta, directory_node())
                }
            };
        }
        match self.child(parent, name) {
            Some(node) if self.is_directory(node) && is_directory => {
                self.nodes.nodes[node].meta = meta;
                Ok(node)
            }
            Some(node) if self.is_directory(node) && self.names.contains_key(&node) => {
                refused("would replace a directory that is not empty")
            }
            _ => Ok(self.name(parent, name, meta, kind)),
        }
    }

    fn name(&mut self, parent: usize, name: &[u8], meta: Meta, kind: NodeKind) -> usize {
        let node = self.push(parent, name, meta, kind);
        self.names
            .entry(parent)
            .or_default()
            .insert(name.into(), node);
        node
    }

    /// Gives an earlier entry another name.
    pub(super) fn link(&mut self, path: &[Vec<u8>], target: &[Vec<u8>]) -> Result<()> {
        let refused = |what: &str| Err(failure::refused(&path.join(&b'/'), what));
        let mut first = 0;
        for name in target {
            match self.child(first, name) {
                Some(node) => first = node,
                None => return refused("is a hard link to a member that does not precede it"),
            }
        }
        if self.is_directory(first) {
            return refused("is a hard link to a directory");
        }
        first = self.nodes.nodes[first].link.unwrap_or(first);
        let FileNode { meta, kind, .. } = self.nodes.nodes[first].clone();
        let node = self.put(path, meta, kind)?;
        self.nodes.nodes[node].link = Some(first);
        Ok(())
    }

    /// The tree of all named nodes, with sorted entries.
    pub(super) fn finish(self) -> FileTree {
        let Self { nodes, names } = self;
        let nodes = nodes.nodes;
        let mut tree = FileTree::default();
        // Of each group of names, by the node that holds its content: the first in the new tree.
        let mut groups: HashMap<usize, usize> = HashMap::new();
        let mut pending = vec![(0, 0)];
        tree.nodes.extend(nodes.first().cloned());
        while let Some((old, new)) = pending.pop() {
            let first = tree.nodes.len();
            let mut directories = Vec::new();
            let entries = names.get(&old).into_iter().flatten();
            for (at, (_, &child)) in entries.enumerate() {
                let holder = nodes[child].link.unwrap_or(child);
                let mut node = FileNode {
                    name: nodes[child].name.clone(),
                    parent: new,
                    link: None,
                    ..nodes[holder].clone()
                };
                match groups.get(&holder) {
                    Some(&named) => {
                        tree.nodes[named].links += 1;
                        node.link = Some(named);
                    }
                    None => {
                        groups.insert(holder, first + at);
                    }
                }
                if matches!(node.kind, NodeKind::Directory { .. }) {
                    directories.push((child, first + at));
                }
                tree.nodes.push(node);
            }
            pending.extend(directories.into_iter().rev());
            let end = tree.nodes.len();
            if let NodeKind::Directory { children, .. } = &mut tree.nodes[new].kind {
                *children = (first..end).collect();
            }
        }
        tree
    }
}

pub(super) fn directory_node() -> NodeKind {
    NodeKind::Directory {
        children: Vec::new(),
        opaque: false,
    }
}

/// A file whose bytes are not read yet.
pub(super) fn pending_file_node(size: u64) -> NodeKind {
    NodeKind::File {
        size,
        content: FileContent::Read(Vec::new()),
    }
}
