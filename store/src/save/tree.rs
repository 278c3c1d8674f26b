//! A tree of files that is to be saved, in memory.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::id::ChunkId;
use crate::layer::{Meta, NewFilePiece};

/// The content of a file that was read: chunks with their lengths, and holes (`None`).
pub(super) type Pieces = Vec<(Option<ChunkId>, u64)>;

/// Content of a regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileContent {
    /// To be read from the file itself.
    Unread,
    /// Read, now or by an earlier save.
    Read(Pieces),
    /// Known from a lower layer, because the file was only moved.
    Known(Vec<NewFilePiece>),
    /// Read, but must not be stored. The file counts as unknown: an entry of the stack below stays.
    LeftOut,
}

/// The type of a node, with the data that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeKind {
    /// A directory with its entries, sorted by name.
    Directory {
        /// The entries, as indexes into the tree.
        children: Vec<usize>,
        /// Whether lower layers' entries at this path are hidden.
        opaque: bool,
    },
    /// A regular file.
    File {
        /// Its size in bytes.
        size: u64,
        /// Its content.
        content: FileContent,
    },
    /// A symbolic link.
    Symlink(Box<[u8]>),
    /// A device or fifo.
    Special(u64),
    /// Removes the entry of lower layers.
    Whiteout,
}

/// The inode fields that reveal whether a file was written to since the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Stamp {
    /// Device.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change of content or attributes: seconds and nanoseconds.
    pub changed: (i64, i64),
    /// Modification time: seconds and nanoseconds.
    pub modified: (i64, i64),
}

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileNode {
    /// Its name; empty for the root.
    pub name: Box<[u8]>,
    /// The directory that holds it; the root is its own.
    pub parent: usize,
    /// Its attributes.
    pub meta: Meta,
    /// Its type and content.
    pub kind: NodeKind,
    /// How it was when it was scanned.
    pub stamp: Stamp,
    /// Whether it has fewer blocks than its size needs: then it may have holes.
    pub sparse: bool,
    /// The first node of the same inode, when an earlier name leads to it too.
    pub link: Option<usize>,
    /// Number of names that lead to it in this tree.
    pub links: u32,
}

/// A tree; node 0 is the root directory, parents come before their children.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FileTree {
    /// The nodes.
    pub nodes: Vec<FileNode>,
}

impl FileTree {
    /// The path of a node from the root, without a leading slash.
    pub(crate) fn path(&self, mut node: usize) -> Vec<u8> {
        let mut names = Vec::new();
        while node != 0 {
            names.push(&*self.nodes[node].name);
            node = self.nodes[node].parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// The path of a node, as the operating system takes it; `.` for the root.
    pub(crate) fn os_path(&self, node: usize) -> PathBuf {
        match node {
            0 => PathBuf::from("."),
            _ => PathBuf::from(OsStr::from_bytes(&self.path(node))),
        }
    }

    /// Number of regular files, and the sum of their sizes; hard links count once.
    pub(crate) fn files(&self) -> (u64, u64) {
        let mut counts = (0_u64, 0_u64);
        for node in &self.nodes {
            if let NodeKind::File { size, .. } = node.kind
                && node.link.is_none()
            {
                // Sparse files may be of any size.
                counts = (counts.0 + 1, counts.1.saturating_add(size));
            }
        }
        counts
    }

    /// Whether there is anything but directories.
    pub(crate) fn has_files(&self) -> bool {
        let is_file =
            |node: &FileNode| !matches!(node.kind, NodeKind::Directory { .. } | NodeKind::Whiteout);
        self.nodes.iter().any(is_file)
    }

    /// Number of regular files that are still to be read, and the sum of their sizes.
    pub(crate) fn unread(&self) -> (u64, u64) {
        let mut counts = (0_u64, 0_u64);
        for node in &self.nodes {
            if let NodeKind::File {
                size,
                content: FileContent::Unread,
            } = node.kind
                && node.link.is_none()
            {
                counts = (counts.0 + 1, counts.1.saturating_add(size));
            }
        }
        counts
    }

    /// Whether a node is a file that must not be stored.
    pub(crate) fn is_left_out(&self, node: usize) -> bool {
        let first = self.nodes[node].link.unwrap_or(node);
        let kind = &self.nodes[first].kind;
        matches!(
            kind,
            NodeKind::File {
                content: FileContent::LeftOut,
                ..
            }
        )
    }

    /// The children of a directory; none for anything else.
    pub(crate) fn children(&self, node: usize) -> &[usize] {
        match &self.nodes[node].kind {
            NodeKind::Directory { children, .. } => children,
            _ => &[],
        }
    }

    /// Calls `visit` for every node in path order: depth first, by name.
    pub(crate) fn visit(&self, mut visit: impl FnMut(usize)) {
        let mut pending = vec![0];
        while let Some(node) = pending.pop() {
            if node < self.nodes.len() {
                visit(node);
                pending.extend(self.children(node).iter().rev());
            }
        }
    }
}
