//! Reading a layer, page by page as it is asked for.

mod content;

use std::sync::OnceLock;

use bytes::Bytes;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::head::{LayerHead, LayerSummary};
use super::page;
use super::record::{DirentRec, InodeRec, LayerSection, NO_INODE, XattrRec, inode_flags};
use super::{MAX_XATTRS, Meta, Timestamp, Xattrs, mode};
use crate::error::{Error, Result};
use crate::frame::ChunkLocation;
use crate::id::{LayerId, TrailerHash};

/// In a [`PackRec`](crate::layer::record::PackRec): the hash of the trailer is not known.
const UNKNOWN: TrailerHash = TrailerHash([0; 32]);

/// Link targets are no longer, as for the kernel.
const MAX_TARGET: u32 = 4095;
/// Limit for the bytes of attribute sets and link targets, counted once for each inode that refers
/// to them: this many times the size of the object, plus [`SMALL_SHARED`]. For example, a security
/// label of 40 bytes on each of a million files counts 40 MB.
const MAX_SHARED: u64 = 256;
/// See [`MAX_SHARED`].
const SMALL_SHARED: u64 = 64 << 20;

/// A piece of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentPiece {
    /// Where the piece starts in the file.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// Where its bytes are; `None` for a hole.
    pub location: Option<ChunkLocation>,
}

/// A layer that is open for reading.
///
/// Opening checks only the head. A page is verified and decoded when something on it is first
/// asked for, and kept; so opening costs the same whatever the layer's size.
pub struct Layer {
    id: LayerId,
    object: Bytes,
    head: LayerHead,
    pages: Vec<OnceLock<Box<[u8]>>>,
    /// Set when [`Self::check_shares`] has found nothing.
    shares: OnceLock<()>,
}

impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layer")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Layer {
    /// Opens a layer object.
    pub fn open(id: LayerId, object: Bytes) -> Result<Self> {
        let head = LayerHead::decode(&id, &object)?;
        let pages = head.pages.iter().map(|_| OnceLock::new()).collect();
        Ok(Self {
            id,
            object,
            head,
            pages,
            shares: OnceLock::new(),
        })
    }

    /// Its name.
    pub fn id(&self) -> LayerId {
        self.id
    }

    /// Counts of the layer, from its head.
    pub fn summary(&self) -> &LayerSummary {
        &self.head.summary
    }

    /// Length of the whole object in bytes.
    pub fn object_len(&self) -> u64 {
        self.object.len() as u64
    }

    /// Bytes of memory that the layer takes after all its pages were read.
    pub fn memory(&self) -> u64 {
        let pages = self.head.pages.iter();
        let pages: u64 = pages.map(|page| u64::from(page.raw.get())).sum();
        self.object_len() + pages
    }

    /// The whole object.
    pub fn object(&self) -> &Bytes {
        &self.object
    }

    fn damaged(&self, detail: impl Into<String>) -> Error {
        Error::damaged(format!("layer {}", self.id), detail)
    }

    /// Checks the hash of every page without decoding any.
    pub fn check_hashes(&self) -> Result<()> {
        for place in &self.head.pages {
            let start = place.offset.get() as usize;
            let stored = self.object.get(start..start + place.stored.get() as usize);
            if stored.is_none_or(|stored| *blake3::hash(stored).as_bytes() != place.hash) {
                return Err(self.damaged("page hash mismatch"));
            }
        }
        Ok(())
    }

    /// Decodes every page, so that damage anywhere is found.
    pub fn verify(&self) -> Result<()> {
        for section in super::record::ALL {
            let first = self.head.first_page[section as usize];
            let records = self.head.records[section as usize];
            for page in 0..records.div_ceil(1 << section.page_shift(self.head.version)) {
                self.page(section, (first + page) as usize)?;
            }
        }
        Ok(())
    }

    /// The raw bytes of a whole table.
    #[cfg(test)]
    pub(super) fn table(&self, section: LayerSection) -> Vec<u8> {
        let first = self.head.first_page[section as usize];
        let pages = self.head.records[section as usize]
            .div_ceil(1 << section.page_shift(self.head.version));
        let pages = (first..first + pages).map(|page| self.page(section, page as usize).unwrap());
        pages.flatten().copied().collect()
    }

    fn page(&self, section: LayerSection, index: usize) -> Result<&[u8]> {
        if let Some(page) = self.pages[index].get() {
            return Ok(page);
        }
        let place = &self.head.pages[index];
        let start = place.offset.get() as usize;
        let stored = self
            .object
            .get(start..start + place.stored.get() as usize)
            .ok_or_else(|| self.damaged("it is truncated"))?;
        let raw = page::decode_page(
            stored,
            &place.hash,
            place.raw.get() as usize,
            section.record_size(self.head.version),
        )?;
        Ok(self.pages[index].get_or_init(|| raw.into_boxed_slice()))
    }

    /// The page that holds record `index`, and the record's place in it.
    fn locate(&self, section: LayerSection, index: u32) -> Result<(&[u8], usize)> {
        if index >= self.head.records[section as usize] {
            return Err(self.damaged(format!("there is no record {index} in its {section:?}")));
        }
        let shift = section.page_shift(self.head.version);
        let page = self.head.first_page[section as usize] + (index >> shift);
        let within = (index & ((1 << shift) - 1)) as usize;
        Ok((
            self.page(section, page as usize)?,
            within * section.record_size(self.head.version),
        ))
    }

    fn record<T: FromBytes + KnownLayout + Immutable>(
        &self,
        section: LayerSection,
        index: u32,
    ) -> Result<&T> {
        let (page, offset) = self.locate(section, index)?;
        page.get(offset..)
            .and_then(|bytes| T::ref_from_prefix(bytes).ok())
            .map(|(record, _)| record)
            .ok_or_else(|| self.damaged("a page is shorter than its table"))
    }

    fn heap(&self, section: LayerSection, offset: u32, length: u32) -> Result<&[u8]> {
        if length == 0 {
            return Ok(&[]);
        }
        let (page, start) = self.locate(section, offset)?;
        page.get(start..start + length as usize)
            .ok_or_else(|| self.damaged("a name or link crosses its page"))
    }

    /// The inode record `inode`. Its mode has one of the seven types and nothing above them.
    pub fn inode(&self, inode: u32) -> Result<&InodeRec> {
        let record: &InodeRec = self.record(LayerSection::Inodes, inode)?;
        let bits = record.mode.get();
        let is_known = matches!(
            bits & mode::TYPE,
            mode::FILE
                | mode::DIRECTORY
                | mode::SYMLINK
                | mode::CHARACTER
                | mode::BLOCK
                | mode::FIFO
                | mode::SOCKET
        );
        if !is_known || bits > 0o177_777 {
            return Err(self.damaged("an entry has an invalid mode"));
        }
        Ok(record)
    }

    /// Checks that every entry belongs to one directory and every piece to one file, that inodes
    /// share attribute sets and link targets within reason, and that the sizes of files add up to no
    /// more than the [summary](Self::summary) says.
    ///
    /// Ranges that many inodes name would make a walk of the tree as long as an attacker likes,
    /// whatever the size of the layer. Takes some nanoseconds an inode, the first time.
    pub fn check_shares(&self) -> Result<()> {
        if self.shares.get().is_some() {
            return Ok(());
        }
        let (mut entries, mut pieces, mut shared, mut bytes) = (0_u64, 0_u64, 0_u64, 0_u64);
        for inode in 0..self.inode_count() {
            let record = self.inode(inode)?;
            let count = u64::from(record.count.get());
            match record.mode.get() & mode::TYPE {
                mode::DIRECTORY => entries += count,
                mode::FILE => {
                    pieces += count;
                    bytes = bytes.saturating_add(record.size.get());
                }
                mode::SYMLINK => shared += count,
                _ => {}
            }
            if let Some(index) = record.xattrs.get().checked_sub(1) {
                let set: &XattrRec = self.record(LayerSection::Xattrs, index)?;
                shared += u64::from(set.length.get());
            }
        }
        let has = |section| u64::from(self.head.records[section as usize]);
        if entries > has(LayerSection::Dirents) {
            return Err(self.damaged("an entry is in two directories"));
        }
        if pieces > has(LayerSection::Chunks) {
            return Err(self.damaged("a piece is in two files"));
        }
        if bytes > self.head.summary.bytes {
            return Err(self.damaged("its files exceed the announced size"));
        }
        if shared > self.object_len() * MAX_SHARED + SMALL_SHARED {
            return Err(self.damaged("its inodes share too many attributes"));
        }
        let _ = self.shares.set(());
        Ok(())
    }

    /// Number of entries of all directories, whiteouts included.
    pub fn entry_count(&self) -> u32 {
        self.head.records[LayerSection::Dirents as usize]
    }

    /// Number of inodes.
    pub fn inode_count(&self) -> u32 {
        self.head.records[LayerSection::Inodes as usize]
    }

    /// A directory's dirents, as a range of indexes; `None` if `inode` is not a directory.
    pub fn children(&self, inode: u32) -> Result<Option<std::ops::Range<u32>>> {
        let record = self.inode(inode)?;
        if record.mode.get() & mode::TYPE != mode::DIRECTORY {
            return Ok(None);
        }
        let first = record.first.get();
        let end = first
            .checked_add(record.count.get())
            .filter(|&end| end <= self.head.records[LayerSection::Dirents as usize])
            .ok_or_else(|| self.damaged("a directory exceeds its table"))?;
        Ok(Some(first..end))
    }

    /// A dirent's name and inode (`None` for a whiteout).
    ///
    /// A subdirectory has a higher inode than `directory` and names both it and this dirent: a
    /// layer where it does not is refused. So no walk can run in circles, or come to a directory
    /// by two ways and take forever.
    pub fn entry(&self, directory: u32, dirent: u32) -> Result<(&[u8], Option<u32>)> {
        let record: &DirentRec = self.record(LayerSection::Dirents, dirent)?;
        let name = self.name(record)?;
        let inode = record.inode.get();
        if inode == NO_INODE {
            return Ok((name, None));
        }
        let entry = self.inode(inode)?;
        if entry.mode.get() & mode::TYPE == mode::DIRECTORY {
            let is_here = entry.parent.get() == directory && entry.size.get() == u64::from(dirent);
            if inode <= directory || !is_here {
                return Err(self.damaged("a directory refers to the wrong parent"));
            }
        }
        Ok((name, Some(inode)))
    }

    fn name(&self, record: &DirentRec) -> Result<&[u8]> {
        let name = self.heap(
            LayerSection::Names,
            record.name.get(),
            u32::from(record.length.get()),
        )?;
        let safe = !matches!(name, b"" | b"." | b"..")
            && name.len() <= 255
            && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
        if safe {
            Ok(name)
        } else {
            Err(self.damaged("an entry has an invalid name"))
        }
    }

    /// A dirent's name.
    pub fn entry_name(&self, dirent: u32) -> Result<&[u8]> {
        self.name(self.record(LayerSection::Dirents, dirent)?)
    }

    /// Finds a name in a directory by binary search; the inode is `None` for a whiteout.
    pub fn find(&self, directory: u32, name: &[u8]) -> Result<Option<Option<u32>>> {
        let Some(range) = self.children(directory)? else {
            return Ok(None);
        };
        let (mut low, mut high) = (range.start, range.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry_name(middle)?.cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    return self.entry(directory, middle).map(|(_, inode)| Some(inode));
                }
            }
        }
        Ok(None)
    }

    /// Whether a directory hides the entries of lower layers.
    pub fn is_opaque(&self, inode: u32) -> Result<bool> {
        Ok(self.inode(inode)?.flags.get() & inode_flags::OPAQUE != 0)
    }

    /// An inode's attributes.
    pub fn meta(&self, inode: u32) -> Result<Meta> {
        let record = self.inode(inode)?;
        let mtime = Timestamp {
            seconds: record.mtime.get(),
            nanos: record.mtime_nanos.get().min(999_999_999),
        };
        Ok(Meta {
            mode: record.mode.get(),
            uid: record.uid.get(),
            gid: record.gid.get(),
            mtime,
            xattrs: self.xattrs(inode)?,
        })
    }

    /// An inode's extended attributes.
    pub fn xattrs(&self, inode: u32) -> Result<Xattrs> {
        let Some(index) = self.inode(inode)?.xattrs.get().checked_sub(1) else {
            return Ok(Xattrs::default());
        };
        let record: &XattrRec = self.record(LayerSection::Xattrs, index)?;
        if record.length.get() as usize > MAX_XATTRS {
            return Err(self.damaged("an attribute set exceeds the maximum size"));
        }
        self.heap(
            LayerSection::Blobs,
            record.offset.get(),
            record.length.get(),
        )
        .map(Xattrs::from_encoded)
    }

    /// A symbolic link's target.
    pub fn symlink_target(&self, inode: u32) -> Result<&[u8]> {
        let record = self.inode(inode)?;
        if record.mode.get() & mode::TYPE != mode::SYMLINK {
            return Err(self.damaged("the entry is not a link"));
        }
        if record.count.get() > MAX_TARGET {
            return Err(self.damaged("a link target exceeds the maximum path length"));
        }
        self.heap(LayerSection::Blobs, record.first.get(), record.count.get())
    }
}
