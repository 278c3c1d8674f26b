//! The image as one file: which bytes are at an offset.

use std::ops::Range;
use std::sync::OnceLock;

use cachefs_store::id::StackId;
use cachefs_store::stack::{Ino, Numbering, Stack};
use cachefs_store::{Error, Result};

use super::build::{self, BLOCKS, Built, DIRECTORIES, FILES};
use super::format::BLOCK;

/// The content of a range of the image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ImageRange<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// This range of a file of the stack.
    File(Ino, Range<u64>),
    /// This many zeros.
    Zeros(u64),
}

/// The image of one stack.
#[derive(Debug)]
pub(crate) struct Image {
    uuid: [u8; 16],
    /// The first block of the other inodes.
    first_inodes: u64,
    /// The blocks that the superblock and the root's inode are in.
    beginning: Vec<u8>,
    built: OnceLock<Result<Built>>,
}

impl Image {
    /// Begins an image with the superblock and the root's inode only. The rest follows from the
    /// layers at [`Self::build`], or at the first read of it.
    pub(crate) fn new(stack: &Stack, numbering: Numbering) -> Result<Self> {
        let layers: Vec<_> = stack.layers().iter().map(|layer| layer.id()).collect();
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&StackId::of(&layers).0[..16]);
        Ok(Self {
            uuid,
            first_inodes: build::first_inodes(&uuid, numbering),
            beginning: build::build_beginning(stack, uuid)?,
            built: OnceLock::new(),
        })
    }

    /// Whether the root's attributes do not fit into the first block.
    pub(crate) fn has_large_root(&self) -> bool {
        self.beginning.len() as u64 > BLOCK
    }

    /// Length of the image in bytes. Nearly all of this address space is empty.
    pub(crate) const LENGTH: u64 = BLOCKS * BLOCK;

    /// Lays the image out, or waits for a thread that has begun to.
    pub(crate) fn build(&self, stack: &Stack) -> Result<(), &Error> {
        self.built(stack).map(drop)
    }

    fn built(&self, stack: &Stack) -> Result<&Built, &Error> {
        self.built
            .get_or_init(|| build::build_image(stack, self.uuid, self.first_inodes))
            .as_ref()
    }

    /// Names and attributes, as ranges of the image: the kernel reads these before any file.
    pub(crate) fn metadata(&self, stack: &Stack) -> Result<[(u64, &[u8]); 3], &Error> {
        let built = self.built(stack)?;
        Ok([
            (0, &self.beginning),
            (self.first_inodes * BLOCK, &built.inodes),
            (DIRECTORIES * BLOCK, &built.directories),
        ])
    }

    /// The parts of a range, which must end within [`Self::LENGTH`].
    pub(crate) fn parts(
        &self,
        stack: &Stack,
        range: Range<u64>,
    ) -> Result<Vec<ImageRange<'_>>, &Error> {
        if range.end <= self.beginning.len() as u64 {
            let bytes = &self.beginning[range.start as usize..range.end as usize];
            return Ok(vec![ImageRange::Bytes(bytes)]);
        }
        let built = self.built(stack)?;
        let mut parts = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let inodes = self.first_inodes * BLOCK;
            let (part, length) = if at < inodes {
                stored_range(&self.beginning, at, inodes - at)
            } else if at < DIRECTORIES * BLOCK {
                stored_range(&built.inodes, at - inodes, DIRECTORIES * BLOCK - at)
            } else if at < FILES * BLOCK {
                let offset = at - DIRECTORIES * BLOCK;
                stored_range(&built.directories, offset, FILES * BLOCK - at)
            } else {
                file_range(built, stack, at)
            };
            let wanted = range.end - at;
            parts.push(part.cut(wanted));
            at += length.min(wanted);
        }
        Ok(parts)
    }
}

impl ImageRange<'_> {
    /// The first `length` bytes of the part.
    fn cut(self, length: u64) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(&bytes[..bytes.len().min(length as usize)]),
            Self::File(ino, range) => {
                Self::File(ino, range.start..range.end.min(range.start + length))
            }
            Self::Zeros(count) => Self::Zeros(count.min(length)),
        }
    }
}

/// The part at an offset of a region that starts with `bytes`; behind them are `room` bytes of
/// zeros.
fn stored_range(bytes: &[u8], offset: u64, room: u64) -> (ImageRange<'_>, u64) {
    match bytes.get(offset as usize..) {
        Some(rest) if !rest.is_empty() => (ImageRange::Bytes(rest), rest.len() as u64),
        _ => (ImageRange::Zeros(room), room),
    }
}

/// The part at an offset of the files' region.
fn file_range<'a>(built: &Built, stack: &Stack, at: u64) -> (ImageRange<'a>, u64) {
    let block = at / BLOCK;
    let next = built
        .extents
        .partition_point(|extent| u64::from(extent.block) <= block);
    let end = built
        .extents
        .get(next)
        .map_or(Image::LENGTH, |next| u64::from(next.block) * BLOCK);
    let Some(extent) = next.checked_sub(1).map(|index| built.extents[index]) else {
        return (ImageRange::Zeros(end - at), end - at);
    };
    let offset = at - u64::from(extent.block) * BLOCK;
    // This cannot fail: the layout has read the attributes, and decoded pages of a layer stay in
    // memory.
    let size = stack.attr(extent.ino).map_or(0, |attr| attr.size);
    if offset < size {
        (ImageRange::File(extent.ino, offset..size), size - offset)
    } else {
        (ImageRange::Zeros(end - at), end - at)
    }
}
