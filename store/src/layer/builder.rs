//! Writing a layer.

use std::collections::HashMap;

use bytes::Bytes;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{I64, U16, U32, U64};

use super::head::{LayerHead, LayerSummary, PageRec};
use super::page::{self, PAGE};
use super::record::{
    ALL, ChunkRec, DirentRec, FrameRec, HOLE, InodeRec, LayerSection, LayerVersion, NO_INODE,
    PackRec, SECTIONS, XattrRec, inode_flags,
};
use super::{Meta, ROOT, Xattrs, mode};
use crate::error::{Error, Result};
use crate::frame::{ChunkLocation, FrameLocation};
use crate::id::{LayerId, PackId, TrailerHash};
use crate::pack::{PackRef, PackSet};

/// A piece of a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewFilePiece {
    /// Bytes in a frame.
    Chunk(ChunkLocation),
    /// This many zero bytes that take no space.
    Hole(u64),
}

/// The type of a new inode, with the data that belongs to it.
#[derive(Debug, Clone)]
pub enum NewKind<'a> {
    /// A directory; filled later by [`LayerBuilder::fill`].
    Directory {
        /// Hides the entries of lower layers at its path.
        opaque: bool,
    },
    /// A regular file.
    File {
        /// Size in bytes; the pieces add up to it.
        size: u64,
        /// The pieces.
        content: &'a [NewFilePiece],
    },
    /// A symbolic link.
    Symlink(&'a [u8]),
    /// A device, fifo or socket, with its `rdev`.
    Special(u64),
}

/// A new inode.
#[derive(Debug, Clone)]
pub struct NewInode<'a> {
    /// Its attributes; the type bits of the mode agree with `kind`.
    pub meta: &'a Meta,
    /// Its type and content.
    pub kind: NewKind<'a>,
}

/// The inode that a name in a directory refers to.
#[derive(Debug, Clone)]
pub enum EntryTarget<'a> {
    /// A new inode.
    New(NewInode<'a>),
    /// An inode that an earlier entry made: a hard link.
    Existing(u32),
    /// The inode of the entry at this position of the same call: a hard link within a directory.
    SameAs(usize),
    /// Nothing: lower layers' entry of this name is removed.
    Whiteout,
}

/// A new entry of a directory.
#[derive(Debug, Clone)]
pub struct NewEntry<'a> {
    /// Its name: 1 to 255 bytes without `/` and NUL.
    pub name: &'a [u8],
    /// The inode of this name.
    pub link: EntryTarget<'a>,
}

/// A finished layer.
#[derive(Debug, Clone)]
pub struct BuiltLayer {
    /// Its name.
    pub id: LayerId,
    /// The whole object.
    pub bytes: Bytes,
    /// Counts of its entries and bytes.
    pub summary: LayerSummary,
}

/// Builds a layer, directory by directory.
///
/// Start with the root's attributes, then fill each directory once, parents before children.
/// Depth-first order keeps neighbouring files on the same pages, so a reader of one directory
/// decodes few of them.
///
/// # Examples
///
/// A layer with one symbolic link, opened again as a stack:
///
/// ```
/// use std::sync::Arc;
///
/// use cachefs_store::layer::{
///     EntryTarget, Layer, LayerBuilder, Meta, NewEntry, NewInode, NewKind, ROOT,
/// };
/// use cachefs_store::stack::Stack;
///
/// let meta = |mode| Meta { mode, ..Meta::default() };
/// let link = NewInode {
///     meta: &meta(0o120777),
///     kind: NewKind::Symlink(b"v2"),
/// };
/// let mut builder = LayerBuilder::new(&meta(0o040755), [])?;
/// builder.fill(ROOT, &[NewEntry { name: b"current", link: EntryTarget::New(link) }])?;
/// let built = builder.finish()?;
///
/// let layer = Layer::open(built.id, built.bytes)?;
/// assert_eq!(layer.entry_count(), 1);
///
/// let stack = Stack::new(vec![Arc::new(layer)])?;
/// let ino = stack.find(b"current")?.expect("the link was added");
/// assert_eq!(stack.symlink_target(ino)?, b"v2");
/// # Ok::<(), cachefs_store::Error>(())
/// ```
pub struct LayerBuilder {
    inodes: Vec<InodeRec>,
    dirents: Vec<DirentRec>,
    names: Vec<u8>,
    chunks: Vec<ChunkRec>,
    frames: Vec<FrameRec>,
    packs: Vec<PackRec>,
    xattrs: Vec<XattrRec>,
    blobs: Vec<u8>,
    frame_numbers: HashMap<FrameLocation, u32>,
    last_frame: Option<(FrameLocation, u32)>,
    pack_numbers: HashMap<PackId, u32>,
    xattr_numbers: HashMap<Xattrs, u32>,
    known_packs: PackSet,
    summary: LayerSummary,
}

fn limit_error(what: &'static str) -> Error {
    Error::TooLarge {
        what,
        limit: "2^32 - 1 records".to_owned(),
    }
}

fn table_index(length: usize, what: &'static str) -> Result<u32> {
    u32::try_from(length)
        .ok()
        .filter(|&n| n < u32::MAX)
        .ok_or_else(|| limit_error(what))
}

impl LayerBuilder {
    /// Starts a layer with its root directory.
    ///
    /// `packs` describes every pack that a chunk location will name, and may do so several times.
    pub fn new(root: &Meta, packs: impl IntoIterator<Item = PackRef>) -> Result<Self> {
        let mut builder = Self {
            inodes: Vec::new(),
            dirents: Vec::new(),
            names: Vec::new(),
            chunks: Vec::new(),
            frames: Vec::new(),
            packs: Vec::new(),
            xattrs: Vec::new(),
            blobs: Vec::new(),
            frame_numbers: HashMap::new(),
            last_frame: None,
            pack_numbers: HashMap::new(),
            xattr_numbers: HashMap::new(),
            known_packs: packs.into_iter().collect(),
            summary: LayerSummary::default(),
        };
        let kind = NewKind::Directory { opaque: false };
        builder.add_inode(ROOT, &NewInode { meta: root, kind })?;
        Ok(builder)
    }

    /// Adds the entries of `directory`, sorted by name; returns each entry's inode.
    ///
    /// # Panics
    ///
    /// When [`EntryTarget::SameAs`] names a position that is not before its own.
    pub fn fill(&mut self, directory: u32, entries: &[NewEntry<'_>]) -> Result<Vec<u32>> {
        // The entries may come from layers that are squashed, and those from anywhere.
        if !entries.is_sorted_by(|a, b| a.name < b.name) {
            return Err(Error::damaged(
                "a directory of a layer",
                "its entries are out of order",
            ));
        }
        let first = table_index(self.dirents.len(), "the number of entries")?;
        table_index(self.dirents.len() + entries.len(), "the number of entries")?;
        let mut inodes: Vec<u32> = Vec::with_capacity(entries.len());
        for entry in entries {
            let inode = match &entry.link {
                EntryTarget::New(new) => self.add_inode(directory, new)?,
                EntryTarget::Existing(inode) => self.link(*inode),
                EntryTarget::SameAs(position) => self.link(inodes[*position]),
                EntryTarget::Whiteout => {
                    self.summary.whiteouts += 1;
                    NO_INODE
                }
            };
            self.summary.entries += 1;
            let name = append_item(&mut self.names, entry.name)?;
            self.dirents.push(DirentRec {
                name: U32::new(name),
                inode: U32::new(inode),
                length: U16::new(entry.name.len() as u16),
                reserved: U16::ZERO,
            });
            inodes.push(inode);
        }
        let record = &mut self.inodes[directory as usize];
        record.first = U32::new(first);
        record.count = U32::new(entries.len() as u32);
        Ok(inodes)
    }

    /// Counts one more name of an inode.
    fn link(&mut self, inode: u32) -> u32 {
        self.inodes[inode as usize].links += U32::new(1);
        inode
    }

    fn add_inode(&mut self, parent: u32, new: &NewInode<'_>) -> Result<u32> {
        let inode = table_index(self.inodes.len(), "the number of files")?;
        let mut record = InodeRec {
            mode: U32::new(new.meta.mode),
            uid: U32::new(new.meta.uid),
            gid: U32::new(new.meta.gid),
            links: U32::new(1),
            mtime: I64::new(new.meta.mtime.seconds),
            mtime_nanos: U32::new(new.meta.mtime.nanos),
            flags: U32::ZERO,
            size: U64::ZERO,
            first: U32::ZERO,
            count: U32::ZERO,
            parent: U32::ZERO,
            xattrs: U32::new(self.add_xattrs(&new.meta.xattrs)?),
        };
        match &new.kind {
            NewKind::Directory { opaque } => {
                debug_assert_eq!(new.meta.mode & mode::TYPE, mode::DIRECTORY);
                record.flags = U32::new(if *opaque { inode_flags::OPAQUE } else { 0 });
                record.parent = U32::new(parent);
                // The dirent that leads here is the one that is added right after this inode.
                record.size = U64::new(self.dirents.len() as u64);
            }
            NewKind::File { size, content } => {
                self.summary.files += 1;
                self.summary.bytes = self.summary.bytes.saturating_add(*size);
                record.size = U64::new(*size);
                record.first = U32::new(table_index(self.chunks.len(), "the number of chunks")?);
                record.count = U32::new(table_index(content.len(), "the number of chunks")?);
                if content
                    .iter()
                    .any(|piece| matches!(piece, NewFilePiece::Hole(_)))
                {
                    record.flags = U32::new(inode_flags::SPARSE);
                    self.summary.sparse = true;
                }
                let mut end = 0;
                for piece in *content {
                    let chunk = self.chunk_record(&mut end, piece)?;
                    self.chunks.push(chunk);
                }
                if end != *size {
                    let detail = "its pieces do not match its size";
                    return Err(Error::damaged("a file of a layer", detail));
                }
            }
            NewKind::Symlink(target) => {
                record.first = U32::new(append_item(&mut self.blobs, target)?);
                record.count = U32::new(target.len() as u32);
                record.size = U64::new(target.len() as u64);
            }
            NewKind::Special(rdev) => record.size = U64::new(*rdev),
        }
        self.inodes.push(record);
        Ok(inode)
    }

    fn chunk_record(&mut self, end: &mut u64, piece: &NewFilePiece) -> Result<ChunkRec> {
        let (frame, offset) = match piece {
            NewFilePiece::Hole(length) => {
                *end += length;
                (HOLE, 0)
            }
            NewFilePiece::Chunk(location) => {
                *end += u64::from(location.length);
                (self.frame_number(&location.frame)?, location.offset)
            }
        };
        Ok(ChunkRec {
            end: U64::new(*end),
            frame: U32::new(frame),
            offset: U32::new(offset),
        })
    }

    fn frame_number(&mut self, frame: &FrameLocation) -> Result<u32> {
        if let Some((last, number)) = &self.last_frame
            && last == frame
        {
            return Ok(*number);
        }
        let frame_number = match self.frame_numbers.get(frame) {
            Some(number) => *number,
            None => {
                let next = table_index(self.frames.len(), "the number of frames")?;
                let pack = self.pack_number(&frame.pack)?;
                self.frames.push(FrameRec {
                    hash: frame.hash,
                    pack: U32::new(pack),
                    offset: U32::new(frame.offset),
                    stored: U32::new(frame.stored),
                    raw: U32::new(frame.raw),
                    codec: frame.codec as u8,
                    reserved: [0; 3],
                });
                self.frame_numbers.insert(*frame, next);
                next
            }
        };
        self.last_frame = Some((*frame, frame_number));
        Ok(frame_number)
    }

    fn pack_number(&mut self, id: &PackId) -> Result<u32> {
        if let Some(number) = self.pack_numbers.get(id) {
            return Ok(*number);
        }
        let pack = self.known_packs.get(id).ok_or_else(|| {
            Error::damaged(
                format!("pack {id}"),
                "a chunk lies in it, but nothing describes it",
            )
        })?;
        let next = self.packs.len() as u32;
        self.packs.push(PackRec {
            id: pack.id,
            length: U32::new(pack.length),
            trailer: U32::new(pack.trailer),
            hash: pack.hash.unwrap_or(TrailerHash([0; 32])),
        });
        self.pack_numbers.insert(*id, next);
        Ok(next)
    }

    fn add_xattrs(&mut self, xattrs: &Xattrs) -> Result<u32> {
        if xattrs.is_empty() {
            return Ok(0);
        }
        if let Some(number) = self.xattr_numbers.get(xattrs) {
            return Ok(*number);
        }
        let offset = append_item(&mut self.blobs, xattrs.encoded())?;
        self.xattrs.push(XattrRec {
            offset: U32::new(offset),
            length: U32::new(xattrs.encoded().len() as u32),
        });
        let next = table_index(self.xattrs.len(), "the number of attribute sets")?;
        self.xattr_numbers.insert(xattrs.clone(), next);
        Ok(next)
    }

    /// Completes the layer.
    pub fn finish(self) -> Result<BuiltLayer> {
        let tables: [&[u8]; SECTIONS] = [
            self.inodes.as_bytes(),
            self.dirents.as_bytes(),
            &self.names,
            self.chunks.as_bytes(),
            self.frames.as_bytes(),
            self.packs.as_bytes(),
            self.xattrs.as_bytes(),
            &self.blobs,
        ];
        assemble_layer(tables, &self.summary)
    }
}

/// Puts tables of whole records together as a layer object.
pub(super) fn assemble_layer(
    tables: [&[u8]; SECTIONS],
    summary: &LayerSummary,
) -> Result<BuiltLayer> {
    let mut records = [0; SECTIONS];
    let mut pages = Vec::new();
    let mut body = Vec::new();
    for section in ALL {
        let (table, record) = (
            tables[section as usize],
            section.record_size(LayerVersion::Two),
        );
        records[section as usize] = table_index(table.len() / record, "a table of the layer")?;
        for raw in table.chunks(record << section.page_shift(LayerVersion::Two)) {
            let stored = page::encode_page(raw, record)
                .map_err(Error::io("compress", "a page of the layer"))?;
            pages.push(PageRec {
                offset: U32::new(table_index(body.len(), "the layer")?),
                stored: U32::new(stored.len() as u32),
                raw: U32::new(raw.len() as u32),
                hash: *blake3::hash(&stored).as_bytes(),
            });
            body.extend_from_slice(&stored);
        }
    }
    let head_length = LayerHead::encoded_len(pages.len());
    table_index(head_length + body.len(), "the layer")?;
    for page in &mut pages {
        page.offset += U32::new(head_length as u32);
    }
    let mut bytes = LayerHead::encode(summary, records, &pages);
    let id = LayerId::of(&bytes);
    bytes.extend_from_slice(&body);
    let summary = LayerSummary {
        xattrs: records[LayerSection::Xattrs as usize] > 0,
        ..*summary
    };
    Ok(BuiltLayer {
        id,
        bytes: bytes.into(),
        summary,
    })
}

/// Appends an item to a heap so that it does not cross a page boundary; returns its offset.
fn append_item(heap: &mut Vec<u8>, item: &[u8]) -> Result<u32> {
    let room = PAGE - heap.len() % PAGE;
    if item.len() > room {
        heap.resize(heap.len() + room, 0);
    }
    let offset = table_index(heap.len(), "the bytes of names or links")?;
    heap.extend_from_slice(item);
    Ok(offset)
}
