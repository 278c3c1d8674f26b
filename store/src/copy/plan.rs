//! Plans a copy.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::id::PackId;
use crate::layer::mode;
use crate::path_limit::MAX_PATH;
use crate::progress::Progress;
use crate::stack::{Ino, Stack};

/// Files larger than this are written in parts, by several threads.
pub(super) const LARGE: u64 = 32 << 20;
/// The length of a part, in bytes.
const PART: u64 = 16 << 20;
/// A task holds about this many bytes of files.
const TASK_BYTES: u64 = 4 << 20;
/// Largest number of files of a task.
const TASK_FILES: usize = 512;

/// The number of a directory in a [`CopyPlan`]; 0 is the root.
pub(super) type DirectoryNumber = u32;

/// A directory.
#[derive(Debug)]
pub(super) struct PlannedDirectory {
    pub(super) at: PlannedName,
    pub(super) ino: Ino,
}

/// A name in a directory.
#[derive(Debug)]
pub(super) struct PlannedName {
    pub(super) directory: DirectoryNumber,
    pub(super) name: Box<[u8]>,
}

/// Anything but a directory, under the first of its names.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) at: PlannedName,
    pub(super) ino: Ino,
    /// Length in bytes, holes included; 0 for all but regular files.
    pub(super) size: u64,
    /// Number of bytes to write.
    pub(super) data: u64,
    /// Where its content begins: pack, offset of the frame, offset in the frame.
    begins: Option<(PackId, u32, u32)>,
}

/// Another name of a leaf.
#[derive(Debug)]
pub(super) struct PlannedLink {
    pub(super) at: PlannedName,
    pub(super) leaf: usize,
}

/// A leaf, or a piece of a large one.
#[derive(Debug)]
pub(super) struct CopyPiece {
    pub(super) leaf: usize,
    pub(super) range: Range<u64>,
    /// Whether it is the first of its leaf.
    pub(super) is_first: bool,
}

/// Everything in a stack.
#[derive(Debug)]
pub(super) struct CopyPlan {
    /// Parents before their children, level by level.
    pub(super) directories: Vec<PlannedDirectory>,
    /// The directories of each level below the root.
    pub(super) levels: Vec<Range<usize>>,
    pub(super) leaves: Vec<Leaf>,
    pub(super) links: Vec<PlannedLink>,
    /// In the order of their bytes in the packs.
    pub(super) parts: Vec<CopyPiece>,
    /// Runs of parts that one thread does in one go.
    pub(super) tasks: Vec<Range<usize>>,
    /// Number of bytes of files to write: holes take none.
    pub(super) bytes: u64,
    /// Directories with entries that are left out, because their paths are longer than
    /// [`MAX_PATH`].
    pub(super) cut: Vec<DirectoryNumber>,
}

impl CopyPlan {
    pub(super) fn new(stack: &Stack, progress: &dyn Progress) -> Result<Self> {
        let root = PlannedName {
            directory: 0,
            name: Box::default(),
        };
        let mut plan = Self {
            directories: vec![PlannedDirectory {
                at: root,
                ino: Ino::ROOT,
            }],
            levels: Vec::new(),
            leaves: Vec::new(),
            links: Vec::new(),
            parts: Vec::new(),
            tasks: Vec::new(),
            bytes: 0,
            cut: Vec::new(),
        };
        stack.check_shares()?;
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
        plan.arrange(stack)?;
        Ok(plan)
    }

    fn list(
        &mut self,
        stack: &Stack,
        number: usize,
        linked: &mut HashMap<Ino, usize>,
    ) -> Result<()> {
        let directory = u32::try_from(number).map_err(|_| Error::TooLarge {
            what: "the number of directories",
            limit: "2^32".to_owned(),
        })?;
        let length = self.path_length(directory);
        let mut is_cut = false;
        stack.list(self.directories[number].ino, 0, |_, name, ino| {
            if length + 1 + name.len() > MAX_PATH {
                is_cut = true;
                return Ok(true);
            }
            let at = PlannedName {
                directory,
                name: name.into(),
            };
            let attr = stack.attr(ino)?;
            if attr.kind() == mode::DIRECTORY {
                self.directories.push(PlannedDirectory { at, ino });
                return Ok(true);
            }
            if attr.links > 1 {
                if let Some(&leaf) = linked.get(&ino) {
                    self.links.push(PlannedLink { at, leaf });
                    return Ok(true);
                }
                linked.insert(ino, self.leaves.len());
            }
            let mut leaf = Leaf {
                at,
                ino,
                size: 0,
                data: 0,
                begins: None,
            };
            if attr.kind() == mode::FILE {
                leaf.size = attr.size;
                leaf.data = attr.size.min(attr.blocks.saturating_mul(512));
                self.bytes = self.bytes.saturating_add(leaf.data);
                for piece in stack.pieces(ino, 0..attr.size)? {
                    if let Some(at) = piece?.location {
                        leaf.begins = Some((at.frame.pack, at.frame.offset, at.offset));
                        break;
                    }
                }
            }
            self.leaves.push(leaf);
            Ok(true)
        })?;
        if is_cut {
            self.cut.push(directory);
        }
        Ok(())
    }

    /// Length of a directory's path; stops counting past the limit.
    fn path_length(&self, directory: DirectoryNumber) -> usize {
        let (mut length, mut directory) = (0, directory);
        while directory != 0 && length <= MAX_PATH {
            let at = &self.directories[directory as usize].at;
            length += at.name.len() + usize::from(length > 0);
            directory = at.directory;
        }
        length
    }

    /// Orders the leaves by their bytes and cuts them into tasks.
    fn arrange(&mut self, stack: &Stack) -> Result<()> {
        let mut order: Vec<usize> = (0..self.leaves.len()).collect();
        order.sort_by_key(|&leaf| self.leaves[leaf].begins);
        let (mut first, mut bytes) = (0, 0);
        for leaf in order {
            let Leaf { ino, size, .. } = self.leaves[leaf];
            let whole = 0..size;
            let ranges = match size > LARGE {
                true => parts_with_data(stack, ino, size)?,
                false => vec![whole],
            };
            for (number, range) in ranges.into_iter().enumerate() {
                let length = range.end - range.start;
                let files = self.parts.len() - first;
                if files > 0 && (bytes + length > TASK_BYTES || files >= TASK_FILES) {
                    self.tasks.push(first..self.parts.len());
                    (first, bytes) = (self.parts.len(), 0);
                }
                self.parts.push(CopyPiece {
                    leaf,
                    range,
                    is_first: number == 0,
                });
                bytes += length;
            }
        }
        if first < self.parts.len() {
            self.tasks.push(first..self.parts.len());
        }
        Ok(())
    }

    /// Number of names, directories included, the root not.
    pub(super) fn entries(&self) -> u64 {
        (self.directories.len() - 1 + self.leaves.len() + self.links.len()) as u64
    }

    /// The path of a name, relative to the root.
    pub(super) fn path(&self, at: &PlannedName) -> PathBuf {
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

/// The parts of a large file in which pieces of data begin; one of no bytes if there are none. So a
/// file takes as many parts as it has data, however long its holes are.
fn parts_with_data(stack: &Stack, ino: Ino, size: u64) -> Result<Vec<Range<u64>>> {
    let mut parts: Vec<Range<u64>> = Vec::new();
    for piece in stack.pieces(ino, 0..size)? {
        let piece = piece?;
        if piece.location.is_none() || parts.last().is_some_and(|last| piece.start < last.end) {
            continue;
        }
        let start = piece.start / PART * PART;
        parts.push(start..size.min(start + PART));
    }
    if parts.is_empty() {
        parts.push(0..0);
    }
    Ok(parts)
}
