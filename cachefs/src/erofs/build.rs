//! Laying a stack out: one walk gives every entry its place, a second writes the directories.

use std::collections::HashMap;
use std::ops::Range;

use cachefs_store::layer::mode;
use cachefs_store::stack::{Attr, Ino, Numbering, Stack};
use cachefs_store::{Error, Result};
use zerocopy::IntoBytes;

use super::directory::{self, ErofsDirent};
use super::format::{
    BLOCK, INODE, Inode, InodeLayout, SLOT, SUPERBLOCK, Superblock, encode_device, entry_kind,
};
use super::xattr;

/// The first block of directories that do not fit behind their inodes, and of long link targets.
/// The space before it is that of the inodes: addresses cost nothing.
pub(super) const DIRECTORIES: u64 = 1 << 23;
/// The first block of files.
pub(super) const FILES: u64 = 1 << 24;
/// Number of addresses.
pub(super) const BLOCKS: u64 = u32::MAX as u64;

/// Largest number of entries for which memory is reserved in advance, because the totals in a layer
/// may be wrong.
const ROOM: u64 = 1 << 20;

/// Where the root's inode is: right behind the superblock.
const ROOT_OFFSET: usize = SUPERBLOCK + size_of::<Superblock>();

/// A file's place: it begins at `block` and has the blocks up to the next extent's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) block: u32,
    pub(super) ino: Ino,
}

/// The image of a stack.
#[derive(Debug, Default)]
pub(super) struct Built {
    /// The blocks from [`first_inodes`] on: inodes and the data after them. While the root is
    /// placed, the blocks from 0 on.
    pub(super) inodes: Vec<u8>,
    /// The blocks from [`DIRECTORIES`] on.
    pub(super) directories: Vec<u8>,
    /// Files with content, by their first block.
    pub(super) extents: Vec<Extent>,
    /// The first block behind the last file.
    pub(super) end: u64,
}

/// An entry of a directory, before and after its inode is known.
struct ImageName {
    offset: u32,
    length: u8,
    kind: u8,
    inode: u64,
}

/// A directory whose content is not written yet.
struct PendingDirectory {
    inode: u64,
    parent: u64,
    entries: Range<usize>,
    /// Where in the inodes its tail goes, or that it has whole blocks only.
    tail: Option<usize>,
    /// Where in the directories its blocks go.
    blocks: usize,
}

/// Something that was listed and not yet given a place.
struct PendingInode {
    ino: Ino,
    /// Its entry in the directory; none for the root.
    entry: Option<usize>,
    parent: u64,
}

struct Builder<'a> {
    stack: &'a Stack,
    xattrs: bool,
    first_inodes: u64,
    out: Built,
    heap: Vec<u8>,
    names: Vec<ImageName>,
    listed: Vec<PendingDirectory>,
    pending: Vec<PendingInode>,
    /// Files with several names that have a place already.
    linked: HashMap<Ino, u64>,
}

/// The first block of all inodes but the root's. An inode's number is its place in units of 32
/// bytes, so this decides the numbers: see [`Numbering::Dense`]. They are from 2^28 to 2^30.
pub(super) fn first_inodes(uuid: &[u8; 16], numbering: Numbering) -> u64 {
    let [a, b, c, d, ..] = *uuid;
    match numbering {
        Numbering::ByLayer => 1,
        Numbering::Dense => (1 << 21) + (u64::from(u32::from_le_bytes([a, b, c, d])) >> 10),
    }
}

/// The superblock and the root's inode with its attributes, which a mount reads: one block, or more
/// if the attributes are large. It takes no walk.
pub(super) fn build_beginning(stack: &Stack, uuid: [u8; 16]) -> Result<Vec<u8>> {
    let mut builder = Builder::new(stack, uuid);
    builder.place_root()?;
    Ok(builder.out.inodes)
}

/// Lays a whole stack out, with the inodes from this block on.
pub(super) fn build_image(stack: &Stack, uuid: [u8; 16], first_inodes: u64) -> Result<Built> {
    stack.check_shares()?;
    let mut builder = Builder::new(stack, uuid);
    builder.place_root()?;
    builder.out.inodes.clear();
    builder.first_inodes = first_inodes;
    while let Some(pending) = builder.pending.pop() {
        builder.place(&pending)?;
    }
    builder.write_directories();
    Ok(builder.out)
}

fn too_large() -> Error {
    Error::TooLarge {
        what: "a cache that is mounted",
        limit: "16 TiB".to_owned(),
    }
}

/// How content that may lie behind its inode is laid out: the bytes there, and whole blocks.
fn split_content(size: u64, record: usize) -> (InodeLayout, usize, u64) {
    let tail = (size % BLOCK) as usize;
    if tail > 0 && record + tail <= BLOCK as usize {
        (InodeLayout::Inline, tail, size / BLOCK)
    } else {
        (InodeLayout::Plain, 0, size.div_ceil(BLOCK))
    }
}

impl<'a> Builder<'a> {
    fn new(stack: &'a Stack, uuid: [u8; 16]) -> Self {
        let entries: u64 = stack
            .layers()
            .iter()
            .map(|layer| layer.summary().entries)
            .fold(0, u64::saturating_add);
        let root = (ROOT_OFFSET / SLOT) as u16;
        let superblock = Superblock::new(root, entries.saturating_add(1), BLOCKS as u32, uuid);
        let mut out = Built {
            end: FILES,
            ..Built::default()
        };
        let room = entries.min(ROOM) as usize;
        out.inodes.reserve((room + 64) * (INODE + 16));
        out.inodes.resize(SUPERBLOCK, 0);
        out.inodes.extend_from_slice(superblock.as_bytes());
        Self {
            stack,
            xattrs: stack.has_xattrs(),
            first_inodes: 0,
            out,
            heap: Vec::new(),
            names: Vec::with_capacity(room + 1),
            listed: Vec::new(),
            pending: Vec::new(),
            linked: HashMap::new(),
        }
    }

    fn place_root(&mut self) -> Result<()> {
        let attr = self.stack.attr(Ino::ROOT)?;
        let xattrs = self.xattrs(Ino::ROOT)?;
        let size = self.list(Ino::ROOT)?;
        // Its entries are not known before the walk, so they are never in the first block.
        let blocks = self.take_directory_blocks(size.div_ceil(BLOCK));
        let inode = (ROOT_OFFSET / SLOT) as u64;
        self.begin_directory(inode, inode, None, blocks);
        self.write_inode(
            &attr,
            InodeLayout::Plain,
            size,
            block_of(blocks),
            &xattrs,
            inode,
        )?;
        let end = self.out.inodes.len().next_multiple_of(BLOCK as usize);
        self.out.inodes.resize(end, 0);
        Ok(())
    }

    fn xattrs(&self, ino: Ino) -> Result<Vec<u8>> {
        if !self.xattrs {
            return Ok(Vec::new());
        }
        xattr::encode_xattrs(&self.stack.xattrs(ino)?)
    }

    /// Lists a directory's names; its entries are the last ones then. Returns its size.
    fn list(&mut self, ino: Ino) -> Result<u64> {
        let mut size = directory::DirectorySize::default();
        let (heap, names, pending) = (&mut self.heap, &mut self.names, &mut self.pending);
        let first = pending.len();
        let mut dots = [&b"."[..], b".."].into_iter().peekable();
        self.stack.list(ino, 0, |_, name, child| {
            while let Some(dot) = dots.next_if(|dot| *dot < name) {
                size.add(dot);
            }
            size.add(name);
            pending.push(PendingInode {
                ino: child,
                entry: Some(names.len()),
                parent: 0,
            });
            names.push(ImageName {
                offset: u32::try_from(heap.len()).map_err(|_| too_large())?,
                length: name.len() as u8,
                kind: 0,
                inode: 0,
            });
            heap.extend_from_slice(name);
            Ok(true)
        })?;
        dots.for_each(|dot| size.add(dot));
        pending[first..].reverse();
        Ok(size.total())
    }

    /// Notes a directory that was listed just now.
    fn begin_directory(&mut self, inode: u64, parent: u64, tail: Option<usize>, blocks: usize) {
        let first = self.listed.last().map_or(0, |last| last.entries.end);
        let children = self.names.len() - first;
        let pending = self.pending.len() - children;
        for child in &mut self.pending[pending..] {
            child.parent = inode;
        }
        self.listed.push(PendingDirectory {
            inode,
            parent,
            entries: first..self.names.len(),
            tail,
            blocks,
        });
    }

    fn take_directory_blocks(&mut self, count: u64) -> usize {
        let offset = self.out.directories.len();
        self.out
            .directories
            .resize(offset + (count * BLOCK) as usize, 0);
        offset
    }

    /// Makes room for an inode with `behind` bytes behind it that must be in its block.
    fn seek(&mut self, record: usize, behind: usize) -> u64 {
        let inodes = &mut self.out.inodes;
        let mut offset = inodes.len().next_multiple_of(SLOT);
        let within = offset % BLOCK as usize;
        let together = if behind > 0 { record + behind } else { INODE };
        if within + together > BLOCK as usize {
            offset = offset.next_multiple_of(BLOCK as usize);
        }
        inodes.resize(offset, 0);
        (self.first_inodes * BLOCK + offset as u64) / SLOT as u64
    }

    fn write_inode(
        &mut self,
        attr: &Attr,
        layout: InodeLayout,
        size: u64,
        start: u32,
        xattrs: &[u8],
        number: u64,
    ) -> Result<()> {
        let inode = Inode {
            format: Inode::format(layout),
            xattr_count: (xattr::inode_xattr_count(xattrs) as u16).into(),
            mode: (attr.mode as u16).into(),
            reserved: 0.into(),
            size: size.into(),
            start: start.into(),
            number: (number as u32).into(),
            uid: attr.uid.into(),
            gid: attr.gid.into(),
            mtime: (attr.mtime.seconds as u64).into(),
            mtime_nanos: attr.mtime.nanos.into(),
            links: attr.links.into(),
            reserved2: [0; 16],
        };
        self.out.inodes.extend_from_slice(inode.as_bytes());
        self.out.inodes.extend_from_slice(xattrs);
        if self.out.inodes.len() as u64 > (DIRECTORIES - self.first_inodes) * BLOCK
            || self.out.directories.len() as u64 > (FILES - DIRECTORIES) * BLOCK
        {
            return Err(too_large());
        }
        Ok(())
    }

    /// Gives an entry its inode.
    fn place(&mut self, pending: &PendingInode) -> Result<()> {
        let PendingInode { ino, entry, parent } = *pending;
        let known = self.linked.get(&ino).copied();
        let attr = self.stack.attr(ino)?;
        let inode = match known {
            Some(inode) => inode,
            None => self.place_new(ino, &attr, parent)?,
        };
        if attr.links > 1 && attr.kind() != mode::DIRECTORY {
            self.linked.insert(ino, inode);
        }
        if let Some(entry) = entry {
            self.names[entry].inode = inode;
            self.names[entry].kind = entry_kind(attr.mode);
        }
        Ok(())
    }

    fn place_new(&mut self, ino: Ino, attr: &Attr, parent: u64) -> Result<u64> {
        let xattrs = self.xattrs(ino)?;
        let record = INODE + xattrs.len();
        match attr.kind() {
            mode::DIRECTORY => {
                let size = self.list(ino)?;
                let (layout, tail, blocks) = split_content(size, record);
                let inode = self.seek(record, tail);
                let blocks = self.take_directory_blocks(blocks);
                let at = self.out.inodes.len() + record;
                self.begin_directory(inode, parent, (tail > 0).then_some(at), blocks);
                self.write_inode(attr, layout, size, block_of(blocks), &xattrs, inode)?;
                self.out.inodes.resize(at + tail, 0);
                Ok(inode)
            }
            mode::SYMLINK => {
                let target = self.stack.symlink_target(ino)?;
                let (layout, tail, blocks) = split_content(target.len() as u64, record);
                let inode = self.seek(record, tail);
                let blocks = self.take_directory_blocks(blocks);
                let size = target.len() as u64;
                self.write_inode(attr, layout, size, block_of(blocks), &xattrs, inode)?;
                if layout == InodeLayout::Inline {
                    self.out.inodes.extend_from_slice(target);
                } else {
                    self.out.directories[blocks..blocks + target.len()].copy_from_slice(target);
                }
                Ok(inode)
            }
            mode::FILE => {
                let inode = self.seek(record, 0);
                let start = self.take_blocks(ino, attr.size)?;
                self.write_inode(attr, InodeLayout::Plain, attr.size, start, &xattrs, inode)?;
                Ok(inode)
            }
            _ => {
                let inode = self.seek(record, 0);
                let number = encode_device(attr.rdev);
                self.write_inode(attr, InodeLayout::Plain, 0, number, &xattrs, inode)?;
                Ok(inode)
            }
        }
    }

    fn take_blocks(&mut self, ino: Ino, size: u64) -> Result<u32> {
        if size == 0 {
            return Ok(0);
        }
        let block = u32::try_from(self.out.end).map_err(|_| too_large())?;
        self.out.end += size.div_ceil(BLOCK);
        if self.out.end > BLOCKS {
            return Err(too_large());
        }
        self.out.extents.push(Extent { block, ino });
        Ok(block)
    }

    fn write_directories(&mut self) {
        let mut content = Vec::new();
        for directory in &self.listed {
            content.clear();
            let names = &self.names[directory.entries.clone()];
            directory::write_directory(&with_dots(directory, names, &self.heap), &mut content);
            let blocks = match directory.tail {
                Some(at) => {
                    let whole = content.len() / BLOCK as usize * BLOCK as usize;
                    let tail = &content[whole..];
                    self.out.inodes[at..at + tail.len()].copy_from_slice(tail);
                    &content[..whole]
                }
                None => &content[..],
            };
            self.out.directories[directory.blocks..directory.blocks + blocks.len()]
                .copy_from_slice(blocks);
        }
    }
}

/// The block that an offset in the directories stands for.
fn block_of(offset: usize) -> u32 {
    (DIRECTORIES + offset as u64 / BLOCK) as u32
}

/// A directory's entries with `.` and `..` at their places.
fn with_dots<'a>(
    directory: &PendingDirectory,
    names: &'a [ImageName],
    heap: &'a [u8],
) -> Vec<ErofsDirent<'a>> {
    let directory_kind = entry_kind(mode::DIRECTORY);
    let dot = |name, inode| ErofsDirent {
        name,
        inode,
        kind: directory_kind,
    };
    let mut dots = [
        dot(&b"."[..], directory.inode),
        dot(b"..", directory.parent),
    ]
    .into_iter()
    .peekable();
    let mut entries = Vec::with_capacity(names.len() + 2);
    for name in names {
        let start = name.offset as usize;
        let text = &heap[start..start + usize::from(name.length)];
        while let Some(dot) = dots.next_if(|dot| dot.name < text) {
            entries.push(dot);
        }
        entries.push(ErofsDirent {
            name: text,
            inode: name.inode,
            kind: name.kind,
        });
    }
    entries.extend(dots);
    entries
}
