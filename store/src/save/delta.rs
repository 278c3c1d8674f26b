//! Compares a tree with the stack below it.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::pipeline::Packed;
use super::store_target::is_unusable;
use super::target::Target;
use super::tree::{FileContent, FileTree, NodeKind};
use crate::error::Result;
use crate::frame::ChunkLocation;
use crate::id::{ChunkId, PackId};
use crate::layer::{Meta, NewFilePiece, mode};
use crate::pack::{PackRef, PackSet};
use crate::stack::{Ino, Stack};

/// Meaning of an entry that the stack has and a complete directory lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MissingEntries {
    /// The entry was deleted: the tree started from this stack.
    Record,
    /// Nothing: the stack is only something to compare with, saved by another job perhaps.
    Ignore,
}

/// The difference between a tree and the stack below it.
#[derive(Debug, Default)]
pub(super) struct Delta {
    /// Whether each node of the tree is part of the difference, or a directory on the way to it.
    pub emit: Vec<bool>,
    /// Names that complete directories lack, by node.
    pub missing: HashMap<usize, Vec<Box<[u8]>>>,
    /// Entries that the stack does not have.
    pub added: u64,
    /// Entries that are other than in the stack.
    pub modified: u64,
    /// Entries that are gone, each with all below it.
    pub removed: u64,
    /// Directories that differ in their time of modification only.
    pub touched: u64,
}

impl Delta {
    /// Whether nothing changed. That directories were touched, by a temporary file perhaps, does
    /// not count by itself.
    pub(super) fn is_empty(&self) -> bool {
        self.added + self.modified + self.removed == 0
    }
}

/// The stack that a tree is compared with, and the chunks that it contains.
///
/// A layer stores the location of a chunk, not its hash. If a chunk of the tree is known at the
/// same location, the two are equal. Only if it is known in another pack, we read the trailer of
/// the stack's pack.
pub(super) struct Baseline<'a> {
    stack: &'a Stack,
    packs: PackSet,
    target: &'a dyn Target,
    ids: RefCell<HashMap<PackId, ChunksByPlace>>,
}

impl<'a> Baseline<'a> {
    /// Compares with `stack`; trailers are read through `target` where they are needed.
    pub(super) fn new(stack: &'a Stack, target: &'a dyn Target) -> Result<Self> {
        let mut packs = PackSet::default();
        for layer in stack.layers() {
            packs.extend(layer.packs()?);
        }
        Ok(Self {
            stack,
            packs,
            target,
            ids: RefCell::default(),
        })
    }

    /// The stack.
    pub(super) fn stack(&self) -> &'a Stack {
        self.stack
    }

    /// The packs that the stack refers to.
    pub(super) fn packs(&self) -> Vec<PackRef> {
        self.packs.iter().collect()
    }

    fn is_chunk(
        &self,
        id: &ChunkId,
        known: Option<&ChunkLocation>,
        here: &ChunkLocation,
    ) -> Result<bool> {
        if known == Some(here) {
            return Ok(true);
        }
        let pack = here.frame.pack;
        let mut ids = self.ids.borrow_mut();
        let chunks = match ids.entry(pack) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                // Without its hash a trailer may say anything: a chunk is then taken for changed.
                let pack = self.packs.get(&pack).filter(|pack| pack.hash.is_some());
                let Some(pack) = pack else {
                    return Ok(false);
                };
                new.insert(match self.target.trailer(pack) {
                    Ok(trailer) => trailer
                        .chunk_locations(&pack.id)
                        .map(|(id, at)| ((at.frame.offset, at.offset), id))
                        .collect(),
                    Err(error) if is_unusable(&error) => {
                        tracing::warn!("treating files in pack {} as changed: {error}", pack.id);
                        ChunksByPlace::new()
                    }
                    Err(error) => return Err(error),
                })
            }
        };
        Ok(chunks.get(&(here.frame.offset, here.offset)) == Some(id))
    }

    /// Whether a file of `size` bytes that was packed has the content that the stack's file has,
    /// which is as long.
    pub(super) fn has_content(
        &self,
        packed: &Packed,
        content: &FileContent,
        below: Ino,
        size: u64,
    ) -> Result<bool> {
        let base = self.stack.pieces(below, 0..size)?;
        let base = base.map(|piece| piece.map(|it| (it.location, it.end - it.start)));
        let base = join_holes(base.collect::<Result<Vec<_>>>()?);
        match content {
            FileContent::Unread | FileContent::LeftOut => Ok(false),
            FileContent::Known(known) => {
                let known = known.iter().map(|piece| match piece {
                    NewFilePiece::Hole(length) => (None, *length),
                    NewFilePiece::Chunk(at) => (Some(*at), u64::from(at.length)),
                });
                Ok(join_holes(known) == base)
            }
            FileContent::Read(pieces) => {
                let pieces = join_holes(pieces.iter().copied());
                if pieces.len() != base.len() {
                    return Ok(false);
                }
                for ((id, length), (at, base_length)) in pieces.iter().zip(&base) {
                    let same = length == base_length
                        && match (id, at) {
                            (None, None) => true,
                            (Some(id), Some(at)) => self.is_chunk(id, packed.chunks.get(id), at)?,
                            _ => false,
                        };
                    if !same {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }
}

/// The pieces of a file with neighbouring holes as one: where a hole is divided says nothing.
fn join_holes<T>(pieces: impl IntoIterator<Item = (Option<T>, u64)>) -> Vec<(Option<T>, u64)> {
    let mut joined: Vec<(Option<T>, u64)> = Vec::new();
    for (piece, length) in pieces {
        match (joined.last_mut(), &piece) {
            (Some((None, hole)), None) => *hole += length,
            _ => joined.push((piece, length)),
        }
    }
    joined
}

/// A pack's chunks by the offset of their frame and their offset in it.
type ChunksByPlace = HashMap<(u32, u32), ChunkId>;

struct Differ<'a> {
    tree: &'a FileTree,
    base: &'a Baseline<'a>,
    /// The same stack with the devices that it does not show.
    whole: Stack,
    packed: &'a Packed,
    deletions: MissingEntries,
    recounted: &'a HashSet<Ino>,
    delta: Delta,
    /// For each group of hard links in the tree: the inodes of the stack that its names lead to.
    groups: HashMap<usize, HashSet<Option<Ino>>>,
}

/// Compares a tree, all of whose files are read, with the stack below it.
///
/// With `complete`, the root lists all of its entries. The upper directory of an overlay lists only
/// changes, except below directories that are marked opaque.
pub(super) fn diff_tree(
    tree: &FileTree,
    base: &Baseline<'_>,
    packed: &Packed,
    complete: bool,
    deletions: MissingEntries,
) -> Result<Delta> {
    diff_but(&HashSet::new(), tree, base, packed, complete, deletions)
}

/// Like [`diff_tree`], but files of `recounted` get the number of names that the tree has for them.
pub(super) fn diff_but(
    recounted: &HashSet<Ino>,
    tree: &FileTree,
    base: &Baseline<'_>,
    packed: &Packed,
    complete: bool,
    deletions: MissingEntries,
) -> Result<Delta> {
    let delta = Delta {
        emit: vec![false; tree.nodes.len()],
        ..Delta::default()
    };
    let mut differ = Differ {
        tree,
        base,
        whole: base.stack.whole(),
        packed,
        deletions,
        recounted,
        delta,
        groups: HashMap::new(),
    };
    differ.link_groups()?;
    differ.directories(complete)?;
    if !base.stack.layers().is_empty() {
        match differ.same_directory(&tree.nodes[0].meta, Ino::ROOT)? {
            Sameness::Same => {}
            Sameness::Touched => differ.delta.touched += 1,
            Sameness::Other => differ.delta.modified += 1,
        }
    }
    differ.delta.emit[0] = true;
    Ok(differ.delta)
}

impl Differ<'_> {
    /// A group of hard links is unchanged only as a whole: which names of the stack it has.
    fn link_groups(&mut self) -> Result<()> {
        for (index, node) in self.tree.nodes.iter().enumerate() {
            if node.links > 1 || node.link.is_some() {
                let first = node.link.unwrap_or(index);
                let below = self.base.stack.find(&self.tree.path(index))?;
                self.groups.entry(first).or_default().insert(below);
            }
        }
        Ok(())
    }

    /// Compares all directories with a work list instead of recursion, because the job that owns
    /// the tree decides how deep it is.
    fn directories(&mut self, complete: bool) -> Result<()> {
        let mut pending = vec![(0, Some(Ino::ROOT), complete)];
        while let Some((node, below, complete)) = pending.pop() {
            self.directory(node, below, complete, &mut pending)?;
        }
        Ok(())
    }

    /// Compares a directory's entries; adds those that are directories to `pending`.
    fn directory(
        &mut self,
        node: usize,
        below: Option<Ino>,
        complete: bool,
        pending: &mut Vec<(usize, Option<Ino>, bool)>,
    ) -> Result<()> {
        let (stack, tree) = (self.base.stack, self.tree);
        let below = match below {
            Some(ino) if stack.attr(ino)?.kind() == mode::DIRECTORY => Some(ino),
            _ => None,
        };
        for &child in tree.children(node) {
            let ino = match below {
                Some(below) => self.lookup(below, child)?,
                None => None,
            };
            self.entry(child, ino)?;
            if let NodeKind::Directory { opaque, .. } = &tree.nodes[child].kind {
                pending.push((child, ino, complete || *opaque));
            }
        }
        if complete
            && self.deletions == MissingEntries::Record
            && let Some(below) = below
        {
            let present: HashSet<&[u8]> = tree
                .children(node)
                .iter()
                .map(|&child| &*tree.nodes[child].name)
                .collect();
            let mut missing = Vec::new();
            stack.list(below, 0, |_, name, _| {
                if !present.contains(name) {
                    missing.push(name.into());
                }
                Ok(true)
            })?;
            if !missing.is_empty() {
                self.emit(node);
                self.delta.removed += missing.len() as u64;
                self.delta.missing.insert(node, missing);
            }
        }
        Ok(())
    }

    /// Returns the entry of the stack at the place of a node.
    fn lookup(&self, below: Ino, child: usize) -> Result<Option<Ino>> {
        let node = &self.tree.nodes[child];
        match is_device(&node.meta) {
            // One that moved with its directory may have been saved there before.
            true => self.whole.lookup(below, &node.name),
            false => self.base.stack.lookup(below, &node.name),
        }
    }

    /// Notes that a node is part of the difference, and that the directories on the way are, which
    /// must be there for it to hang on.
    fn emit(&mut self, mut node: usize) {
        while node != 0 && !self.delta.emit[node] {
            self.delta.emit[node] = true;
            node = self.tree.nodes[node].parent;
        }
    }

    /// Compares an entry; the contents of a directory are compared later.
    fn entry(&mut self, index: usize, below: Option<Ino>) -> Result<()> {
        let node = &self.tree.nodes[index];
        let emit = match &node.kind {
            NodeKind::Whiteout => {
                let emit = below.is_some();
                self.delta.removed += u64::from(emit);
                emit
            }
            NodeKind::Directory { .. } => {
                match below
                    .map(|ino| self.same_directory(&node.meta, ino))
                    .transpose()?
                {
                    None => {
                        self.delta.added += 1;
                        true
                    }
                    Some(Sameness::Same) => false,
                    Some(Sameness::Touched) => {
                        self.delta.touched += 1;
                        true
                    }
                    Some(Sameness::Other) => {
                        self.delta.modified += 1;
                        true
                    }
                }
            }
            // The entry of the stack at this path, if any, is neither changed nor removed.
            _ if self.tree.is_left_out(index) => false,
            _ => {
                let same = match below {
                    Some(ino) => self.same_leaf(index, ino)?,
                    None => false,
                };
                match (same, below) {
                    (true, _) => {}
                    (false, Some(_)) => self.delta.modified += 1,
                    (false, None) => self.delta.added += 1,
                }
                !same
            }
        };
        if emit {
            self.emit(index);
        }
        Ok(())
    }

    fn same_directory(&self, meta: &Meta, below: Ino) -> Result<Sameness> {
        let base = self.base.stack.meta(below)?;
        Ok(if base == *meta {
            Sameness::Same
        } else if (Meta {
            mtime: base.mtime,
            ..meta.clone()
        }) == base
        {
            Sameness::Touched
        } else {
            Sameness::Other
        })
    }

    fn same_leaf(&self, index: usize, below: Ino) -> Result<bool> {
        let first = self.tree.nodes[index].link.unwrap_or(index);
        let node = &self.tree.nodes[first];
        let stack = match is_device(&node.meta) {
            true => &self.whole,
            false => self.base.stack,
        };
        if stack.meta(below)? != node.meta {
            return Ok(false);
        }
        let attr = stack.attr(below)?;
        if self
            .groups
            .get(&first)
            .is_some_and(|group| group.len() != 1)
        {
            return Ok(false);
        }
        let same_links = match self.deletions {
            MissingEntries::Record => attr.links == node.links,
            MissingEntries::Ignore if self.recounted.contains(&below) => attr.links == node.links,
            // The stack's other names stay, and lead to the same file.
            MissingEntries::Ignore => attr.links >= node.links,
        };
        if !same_links {
            return Ok(false);
        }
        match &node.kind {
            NodeKind::File { size, content } => {
                Ok(attr.size == *size
                    && self.base.has_content(self.packed, content, below, *size)?)
            }
            NodeKind::Symlink(target) => Ok(stack.symlink_target(below)? == &**target),
            NodeKind::Special(rdev) => Ok(attr.rdev == *rdev),
            NodeKind::Directory { .. } | NodeKind::Whiteout => Ok(false),
        }
    }
}

fn is_device(meta: &Meta) -> bool {
    matches!(meta.mode & mode::TYPE, mode::CHARACTER | mode::BLOCK)
}

enum Sameness {
    Same,
    Touched,
    Other,
}
