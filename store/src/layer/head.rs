//! The head of a layer: its tables, their pages, and its counts.

use serde::{Deserialize, Serialize};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::MAGIC;
use super::page::PAGE;
use super::record::{ALL, LayerSection, LayerVersion, SECTIONS};
use crate::error::{Error, Result};
use crate::id::LayerId;

/// Counts of a layer's entries and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LayerSummary {
    /// Number of regular files (inodes, not names).
    pub files: u64,
    /// Number of entries of any kind, whiteouts included.
    pub entries: u64,
    /// Number of whiteouts.
    pub whiteouts: u64,
    /// Sum of the sizes of its files.
    pub bytes: u64,
    /// Whether any inode has extended attributes.
    pub xattrs: bool,
    /// Whether any file has holes.
    #[serde(default)]
    pub sparse: bool,
}

/// Counts of a whole tree, across all of its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TreeTotals {
    /// Number of regular files (inodes, not names).
    pub files: u64,
    /// Sum of their sizes in bytes.
    pub bytes: u64,
}

/// Decoded pages may take this many times the bytes of the object, and [`SMALL_RAW`] on top: a
/// page of equal records compresses thousands of times, and decoded pages are kept in memory. A
/// million empty files with numbers for names reach 161.
const MAX_EXPANSION: u64 = 256;
/// See [`MAX_EXPANSION`]; small layers need no ratio.
const SMALL_RAW: u64 = 16 << 20;
/// A layer may have this many entries for each byte of its object, and [`SMALL_ENTRIES`] on top:
/// readers keep far more than a page's 12 bytes for an entry. The same million files reach 2.1.
const MAX_ENTRIES_PER_BYTE: u64 = 8;
/// See [`MAX_ENTRIES_PER_BYTE`].
const SMALL_ENTRIES: u64 = 1 << 16;

/// In the compatible features: some file has holes.
const SPARSE: u32 = 1;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FixedHead {
    magic: [u8; 8],
    /// Length of the whole head.
    length: U32,
    /// Number of pages.
    pages: U32,
    /// Features a reader may ignore.
    compatible: U32,
    /// Features a reader must know.
    incompatible: U32,
    files: U64,
    entries: U64,
    whiteouts: U64,
    bytes: U64,
    /// Number of records of each section.
    records: [U32; SECTIONS],
}

/// Where a page is.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct PageRec {
    /// Offset from the start of the object.
    pub offset: U32,
    /// Stored length.
    pub stored: U32,
    /// Raw length.
    pub raw: U32,
    /// BLAKE3 of the stored bytes.
    pub hash: [u8; 32],
}

/// A parsed head.
#[derive(Debug, Clone)]
pub struct LayerHead {
    /// Counts of the layer.
    pub summary: LayerSummary,
    pub(super) version: LayerVersion,
    pub(super) records: [u32; SECTIONS],
    pub(super) pages: Vec<PageRec>,
    /// Index of each section's first page.
    pub(super) first_page: [u32; SECTIONS],
}

impl LayerHead {
    /// Encodes a head; the pages' offsets must already count the head itself.
    pub(super) fn encode(
        summary: &LayerSummary,
        records: [u32; SECTIONS],
        pages: &[PageRec],
    ) -> Vec<u8> {
        let fixed = FixedHead {
            magic: MAGIC,
            length: U32::new(Self::encoded_len(pages.len()) as u32),
            pages: U32::new(pages.len() as u32),
            compatible: U32::new(if summary.sparse { SPARSE } else { 0 }),
            incompatible: U32::ZERO,
            files: U64::new(summary.files),
            entries: U64::new(summary.entries),
            whiteouts: U64::new(summary.whiteouts),
            bytes: U64::new(summary.bytes),
            records: records.map(U32::new),
        };
        let mut out = fixed.as_bytes().to_vec();
        out.extend_from_slice(pages.as_bytes());
        out
    }

    /// Length of a head with this many pages, in bytes.
    pub(super) fn encoded_len(pages: usize) -> usize {
        size_of::<FixedHead>() + pages * size_of::<PageRec>()
    }

    /// Parses and verifies the head at the start of a layer object.
    pub fn decode(id: &LayerId, object: &[u8]) -> Result<Self> {
        let damaged = |detail: &str| Error::damaged(format!("layer {id}"), detail);
        let (fixed, _) = FixedHead::ref_from_prefix(object)
            .map_err(|_| damaged("it is shorter than its header"))?;
        if fixed.magic[..7] != MAGIC[..7] {
            return Err(damaged("wrong magic number"));
        }
        let version = LayerVersion::of(&fixed.magic).filter(|_| fixed.incompatible == U32::ZERO);
        let Some(version) = version else {
            return Err(Error::Unsupported {
                what: format!("layer {id}"),
                detail: format!(
                    "version `{}`, features {:#x}",
                    fixed.magic[7] as char, fixed.incompatible
                ),
            });
        };
        let head = object
            .get(..fixed.length.get() as usize)
            .ok_or_else(|| damaged("it is shorter than its header"))?;
        if LayerId::of(head) != *id {
            return Err(damaged("header hash mismatch"));
        }
        let pages = head
            .get(size_of::<FixedHead>()..)
            .and_then(|bytes| <[PageRec]>::ref_from_bytes(bytes).ok())
            .filter(|pages| pages.len() == fixed.pages.get() as usize)
            .ok_or_else(|| damaged("its list of pages is truncated"))?;
        let records = fixed.records.map(U32::get);
        let mut first_page = [0; SECTIONS];
        let mut next = 0;
        for section in ALL {
            first_page[section as usize] = next;
            next += records[section as usize].div_ceil(1 << section.page_shift(version));
        }
        if next as usize != pages.len() || pages.iter().any(|page| page.raw.get() as usize > PAGE) {
            return Err(damaged("the sizes of its pages and tables differ"));
        }
        check_places(pages, head.len() as u64, object.len() as u64).map_err(damaged)?;
        let most = object.len() as u64 * MAX_ENTRIES_PER_BYTE + SMALL_ENTRIES;
        if u64::from(records[LayerSection::Dirents as usize]) > most {
            return Err(damaged("it has more entries than its bytes can describe"));
        }
        let (files, entries) = (fixed.files.get(), fixed.entries.get());
        let has = |section| u64::from(records[section as usize]);
        if files > has(LayerSection::Inodes)
            || entries > has(LayerSection::Dirents)
            || fixed.whiteouts.get() > entries
        {
            // Readers allocate by this count, so it is bounded by the number of entries.
            return Err(damaged("it counts more entries than it has"));
        }
        let summary = LayerSummary {
            files,
            entries,
            whiteouts: fixed.whiteouts.get(),
            bytes: fixed.bytes.get(),
            xattrs: records[LayerSection::Xattrs as usize] > 0,
            sparse: fixed.compatible.get() & SPARSE != 0,
        };
        Ok(Self {
            summary,
            version,
            records,
            pages: pages.to_vec(),
            first_page,
        })
    }
}

/// Pages lie behind the head, one behind the other, within the object: no stored byte is in two
/// pages. So the work for a layer is bounded by the bytes of its object.
fn check_places(pages: &[PageRec], head: u64, object: u64) -> Result<(), &'static str> {
    let (mut end, mut raw) = (head, 0);
    for page in pages {
        let start = u64::from(page.offset.get());
        if start < end {
            return Err("its pages overlap");
        }
        end = start + u64::from(page.stored.get());
        raw += u64::from(page.raw.get());
    }
    if end > object {
        return Err("it is truncated");
    }
    if raw > object * MAX_EXPANSION + SMALL_RAW {
        return Err("its pages exceed the maximum decoded size");
    }
    Ok(())
}
