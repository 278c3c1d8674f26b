//! What there is to do, before anything is done.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::id::PackId;
use crate::layer::mode;
use crate::save::Progress;
use crate::stack::{Ino, Stack};

/// Files larger than this are written in parts, by several threads.
pub(super) const LARGE: u64 = 32 << 20;
/// The length of such a part.
const PART: u64 = 16 << 20;
/// A task holds about this many bytes of files.
const TASK_BYTES: u64 = 4 << 20;
/// A task holds at most so many files.
const TASK_FILES: usize = 512;

/// The number of a directory in a [`Plan`]; 0 is the root.
pub(super) type DirectoryNumber = u32;

/// A directory.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) at: Name,
    pub(super) ino: Ino,
}

/// A name in a directory.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) directory: DirectoryNumber,
    pub(super) name: Box<[u8]>,
}

/// Anything but a directory, under the first of its names.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) at: Name,
    pub(super) ino: Ino,
    /// Number of bytes to write; 0 for all but regular files.
    pub(super) size: u64,
    /// Where its content begins: pack, offset of the frame, offset in the frame.
    begins: Option<(PackId, u32, u32)>,
}

/// Another name of a leaf.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) at: Name,
    pub(super) leaf: usize,
}

/// A leaf, or a piece of a large one.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) leaf: usize,
    pub(super) range: Range<u64>,
}

/// Everything in a stack.
#[derive(Debug)]
pub(super) struct Plan {
    /// Parents before their children, level by level.
    pub(super) directories: Vec<Directory>,
    /// The directories of each level below the root.
    pub(super) levels: Vec<Range<usize>>,
    pub(super) leaves: Vec<Leaf>,
    pub(super) links: Vec<Link>,
    /// In the order of their bytes in the packs.
    pub(super) parts: Vec<Part>,
    /// Runs of parts that one thread does in one go.
    pub(super) tasks: Vec<Range<usize>>,
    /// Sum of the sizes of all files.
    pub(super) bytes: u64,
}

impl Plan {
    pub(super) fn new(stack: &Stack, progress: &dyn Progress) -> Result<Self> {
        let root = Name { directory: 0, name: Box::default() };
        let mut plan = Self {
            directories: vec![Directory { at: root, ino: Ino::ROOT }],
            levels: Vec::new(),
            leaves: Vec::new(),
            links: Vec::new(),
            parts: Vec::new(),
            tasks: Vec::new(),
            bytes: 0,
        };
        let mut linked = HashMap::new();
        let mut level = 0..1;
        while !level.is_empty() {
            for directory in level.clone() {
                if progress.cancelled() {
                    return Err(Error::Cancelled);
                }
                plan.list(stack, directory, &mut linked)?;
            }
            level = level.end..plan.directories.len();
            plan.levels.push(level.clone());
        }
        plan.arrange();
        Ok(plan)
    }

    fn list(&mut self, stack: &Stack, number: usize, linked: &mut HashMap<Ino, usize>) -> Result<()> {
        let directory = u32::try_from(number).map_err(|_| Error::TooLarge {
            what: "the number of directories",
            limit: "2^32".to_owned(),
        })?;
        stack.list(self.directories[number].ino, 0, |_, name, ino| {
            let at = Name { directory, name: name.into() };
            let attr = stack.attr(ino)?;
            if attr.kind() == mode::DIRECTORY {
                self.directories.push(Directory { at, ino });
                return Ok(true);
            }
            if attr.links > 1 {
                if let Some(&leaf) = linked.get(&ino) {
                    self.links.push(Link { at, leaf });
                    return Ok(true);
                }
                linked.insert(ino, self.leaves.len());
            }
            let mut leaf = Leaf { at, ino, size: 0, begins: None };
            if attr.kind() == mode::FILE {
                leaf.size = attr.size;
                self.bytes = self.bytes.saturating_add(attr.size);
                for piece in stack.pieces(ino, 0..attr.size)? {
                    if let Some(at) = piece?.location {
                        leaf.begins = Some((at.frame.pack, at.frame.offset, at.offset));
                        break;
                    }
                }
            }
            self.leaves.push(leaf);
            Ok(true)
        })
    }

    /// Orders the leaves by their bytes and cuts them into tasks.
    fn arrange(&mut self) {
        let mut order: Vec<usize> = (0..self.leaves.len()).collect();
        order.sort_by_key(|&leaf| self.leaves[leaf].begins);
        let (mut first, mut bytes) = (0, 0);
        for leaf in order {
            let size = self.leaves[leaf].size;
            let part = if size > LARGE { PART } else { size };
            let mut start = 0;
            loop {
                let end = size.min(start + part);
                let files = self.parts.len() - first;
                if files > 0 && (bytes + (end - start) > TASK_BYTES || files >= TASK_FILES) {
                    self.tasks.push(first..self.parts.len());
                    (first, bytes) = (self.parts.len(), 0);
                }
                self.parts.push(Part { leaf, range: start..end });
                bytes += end - start;
                start = end;
                if start == size {
                    break;
                }
            }
        }
        if first < self.parts.len() {
            self.tasks.push(first..self.parts.len());
        }
    }

    /// Number of names, directories included, the root not.
    pub(super) fn entries(&self) -> u64 {
        (self.directories.len() - 1 + self.leaves.len() + self.links.len()) as u64
    }

    /// The path of a name, relative to the root.
    pub(super) fn path(&self, at: &Name) -> PathBuf {
        let mut names = vec![&*at.name];
        let mut directory = at.directory;
        while directory != 0 {
            let at = &self.directories[directory as usize].at;
            names.push(&at.name);
            directory = at.directory;
        }
        names.reverse();
        PathBuf::from(OsStr::from_bytes(&names.join(&b'/')))
    }
}
