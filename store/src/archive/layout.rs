//! Taking a tar archive apart, so that it can be put together again byte for byte.
//!
//! Two builds of the same files make different archives: times differ, and every header with them.
//! Stored as a whole, such an archive shares little with the one before it. So headers are kept
//! apart from contents. Contents are then cut where files are cut that no archive holds, and share
//! chunks with them.
//!
//! An archive is a sequence of [`TarSegment`]s: some bytes of headers, then the content of one member.
//! Everything that is not the content of a member counts as a header: padding, long names, PAX
//! records, the blocks at the end. The segments cover the archive, whatever is in it. So a layout
//! that misunderstands an archive costs deduplication, and never a byte.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::header::BLOCK;
use crate::error::{Error, Result};

/// The first bytes of an encoded layout.
const MAGIC: &[u8; 8] = b"CFSTARL1";
/// Most members of an archive that is taken apart. Bounds the memory of a reader at 64 MiB.
const MAX_SEGMENTS: usize = 1 << 22;
/// Largest long name or PAX header; a larger one counts as content.
const MAX_PAX: u64 = 1 << 20;
/// Bytes that are read at once. Most members of package trees are smaller.
const WINDOW: usize = 64 << 10;

/// Bytes of headers, and the content that follows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TarSegment {
    /// Number of bytes that are not content.
    pub header: u64,
    /// Number of bytes of content.
    pub content: u64,
}

/// The parts of a range of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TarRange {
    /// The range in all headers, one after the other.
    pub headers: Range<u64>,
    /// The range in all contents.
    pub contents: Range<u64>,
    /// How the two alternate.
    pub segments: Vec<TarSegment>,
}

/// Where headers and contents are in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TarLayout {
    segments: Vec<TarSegment>,
}

impl TarLayout {
    /// Finds the layout of an archive; `None` if the file does not begin with the header of a tar
    /// member, or has too many members.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn of_file(file: &File) -> io::Result<Option<Self>> {
        let size = file.metadata()?.len();
        let mut reader = HeaderReader::new(file, size);
        let mut layout = Self::default();
        let (mut at, mut header) = (0, 0);
        let mut next_size = None;
        loop {
            let Some(found) = reader.read_header(at)? else {
                if at == 0 {
                    return Ok(None);
                }
                // The blocks at the end, or bytes that are no tar any more. The latter may be long.
                let rest = size - at;
                let is_short = rest <= WINDOW as u64;
                let (of_header, content) = if is_short { (rest, 0) } else { (0, rest) };
                layout.push(header + of_header, content);
                return Ok(Some(layout));
            };
            let content = next_size
                .take()
                .unwrap_or(found.size)
                .min(size - at - BLOCK as u64);
            let padded = content
                .next_multiple_of(BLOCK as u64)
                .min(size - at - BLOCK as u64);
            header += BLOCK as u64;
            at += BLOCK as u64;
            match found.kind {
                // Headers of the next member, or of all that follow.
                b'x' | b'X' | b'g' | b'L' | b'K' if content <= MAX_PAX => {
                    if matches!(found.kind, b'x' | b'X') {
                        next_size = reader.read_pax_size(at..at + content)?;
                    }
                    header += padded;
                }
                _ => {
                    if layout.segments.len() == MAX_SEGMENTS {
                        return Ok(None);
                    }
                    if content > 0 {
                        layout.push(header, content);
                        header = 0;
                    }
                    header += padded - content;
                }
            }
            at += padded;
            if at == size {
                layout.push(header, 0);
                return Ok(Some(layout));
            }
        }
    }

    fn push(&mut self, header: u64, content: u64) {
        if header + content > 0 {
            self.segments.push(TarSegment { header, content });
        }
    }

    /// The segments, in order.
    pub fn segments(&self) -> &[TarSegment] {
        &self.segments
    }

    /// Number of bytes of all headers.
    pub fn header_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.header).sum()
    }

    /// Number of bytes of all contents.
    pub fn content_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.content).sum()
    }

    /// Number of bytes of the archive.
    pub fn size(&self) -> u64 {
        self.header_bytes() + self.content_bytes()
    }

    /// Splits a range of the archive into its parts. The range must be within the archive.
    pub fn parts_of(&self, range: &Range<u64>) -> TarRange {
        let (mut at, mut headers, mut contents) = (0, 0, 0);
        let mut parts = TarRange::default();
        let overlap = |start: u64, length: u64| {
            let end = (start + length).min(range.end);
            end.saturating_sub(start.max(range.start))
        };
        for segment in &self.segments {
            let of_header = overlap(at, segment.header);
            let of_content = overlap(at + segment.header, segment.content);
            let skipped = range.start.saturating_sub(at);
            if parts.segments.is_empty() {
                let skipped_header = skipped.min(segment.header);
                let skipped_content = (skipped - skipped_header).min(segment.content);
                parts.headers = headers + skipped_header..headers + skipped_header;
                parts.contents = contents + skipped_content..contents + skipped_content;
            }
            if of_header + of_content > 0 {
                parts.segments.push(TarSegment {
                    header: of_header,
                    content: of_content,
                });
                parts.headers.end += of_header;
                parts.contents.end += of_content;
            }
            at += segment.header + segment.content;
            headers += segment.header;
            contents += segment.content;
            if at >= range.end {
                break;
            }
        }
        parts
    }

    /// The ranges of the contents in the archive, in order.
    pub fn content_ranges(&self) -> impl Iterator<Item = Range<u64>> {
        let mut at = 0;
        let ranges = self.segments.iter().map(move |segment| {
            let start = at + segment.header;
            at = start + segment.content;
            start..at
        });
        ranges.filter(|range| !range.is_empty())
    }

    /// The ranges of the headers in the archive, in order.
    pub fn header_ranges(&self) -> impl Iterator<Item = Range<u64>> {
        let mut at = 0;
        let ranges = self.segments.iter().map(move |segment| {
            let range = at..at + segment.header;
            at = range.end + segment.content;
            range
        });
        ranges.filter(|range| !range.is_empty())
    }

    /// Encodes the layout: the magic, the number of segments, and the two lengths of each, as LEB128
    /// numbers (`docs/format/namespace.md`).
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        push_number(&mut bytes, self.segments.len() as u64);
        for segment in &self.segments {
            push_number(&mut bytes, segment.header);
            push_number(&mut bytes, segment.content);
        }
        bytes
    }

    /// Decodes a layout.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if the bytes are not the encoding of a layout.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::damaged("the layout of a tar archive", "it cannot be decoded");
        let mut rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
        let count = take_number(&mut rest).ok_or_else(damaged)?;
        // Each segment takes two bytes at least, so a false count does not reserve memory.
        let count = usize::try_from(count)
            .ok()
            .filter(|count| *count <= rest.len() / 2);
        let mut segments = Vec::with_capacity(count.ok_or_else(damaged)?);
        let mut total = 0_u64;
        for _ in 0..segments.capacity() {
            let header = take_number(&mut rest).ok_or_else(damaged)?;
            let content = take_number(&mut rest).ok_or_else(damaged)?;
            let length = header.checked_add(content).ok_or_else(damaged)?;
            total = total.checked_add(length).ok_or_else(damaged)?;
            segments.push(TarSegment { header, content });
        }
        if !rest.is_empty() {
            return Err(damaged());
        }
        Ok(Self { segments })
    }
}

fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7F);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The fields of a header that decide where the next one is.
struct FoundHeader {
    kind: u8,
    size: u64,
}

/// Reads headers through a window, as members are mostly small.
struct HeaderReader<'a> {
    file: &'a File,
    size: u64,
    window: Vec<u8>,
    start: u64,
}

impl<'a> HeaderReader<'a> {
    fn new(file: &'a File, size: u64) -> Self {
        Self {
            file,
            size,
            window: Vec::new(),
            start: 0,
        }
    }

    /// Bytes of the file; `None` if it ends before them.
    fn bytes(&mut self, range: Range<u64>) -> io::Result<Option<&[u8]>> {
        if range.end > self.size {
            return Ok(None);
        }
        let end = self.start + self.window.len() as u64;
        if range.start < self.start || range.end > end {
            let length = (range.end - range.start).max(WINDOW as u64);
            let length = length.min(self.size - range.start);
            self.window.resize(length as usize, 0);
            self.file.read_exact_at(&mut self.window, range.start)?;
            self.start = range.start;
        }
        let first = (range.start - self.start) as usize;
        Ok(Some(
            &self.window[first..first + (range.end - range.start) as usize],
        ))
    }

    /// The header at an offset; `None` at the end of an archive.
    fn read_header(&mut self, at: u64) -> io::Result<Option<FoundHeader>> {
        let Some(block) = self.bytes(at..at + BLOCK as u64)? else {
            return Ok(None);
        };
        let Ok(block) = <&[u8; BLOCK]>::try_from(block) else {
            return Ok(None);
        };
        let Ok(Some(header)) = super::header::parse_header(block) else {
            return Ok(None);
        };
        let Ok(size) = header.entry_size() else {
            return Ok(None);
        };
        let kind = header.entry_type().as_byte();
        // Links, directories and devices have no content, whatever their size field says.
        let has_content = !matches!(kind, b'1'..=b'6');
        Ok(Some(FoundHeader {
            kind,
            size: if has_content { size } else { 0 },
        }))
    }

    /// The size that PAX records give the next member.
    fn read_pax_size(&mut self, range: Range<u64>) -> io::Result<Option<u64>> {
        let records = self.bytes(range)?.and_then(|bytes| {
            let records = super::pax::PaxRecords::read(bytes).ok()?;
            records.number("size").ok()?
        });
        Ok(records)
    }
}

#[cfg(test)]
mod tests;
