//! Chunks: the unit of deduplication.
//!
//! A file of up to [`WHOLE_FILE_LIMIT`] bytes is one chunk. A larger one is cut by FastCDC (the
//! 2020 variant, normalisation level 1) into chunks of 16 to 256 KiB, 64 KiB on average. Files are
//! cut by themselves, never as a concatenated stream, which costs 15 to 55 % more bytes after a
//! change. Files beyond [`SEGMENT`] are cut segment by segment, so that all cores can work on one
//! file; the cuts meet again within a chunk or two behind each segment boundary.
//!
//! Known formats are cut at their own boundaries first: compiled Python after its header, which
//! contains the time of the source, and zip archives (jars, wheels) around the data of their larger
//! entries. This separates the bytes that change with every build or installation from those that
//! stay the same.
//!
//! Cut points decide what deduplicates against caches that exist: they are part of the format.
//! The golden test in this module must never change for a given format version.

mod archive;
mod header;

use fastcdc::v2020::FastCDC;

/// Files up to this many bytes are one chunk.
pub const WHOLE_FILE_LIMIT: usize = 128 << 10;
/// The smallest chunk that cutting makes, except the last of a segment.
pub const MIN_CHUNK: usize = 16 << 10;
/// The average that cutting aims at.
pub const AVERAGE_CHUNK: usize = 64 << 10;
/// The largest chunk that cutting makes; also the limit that decoders enforce.
pub const MAX_CHUNK: usize = 256 << 10;
/// Files are cut in pieces of this many bytes that know nothing of each other.
pub const SEGMENT: u64 = 16 << 20;

/// Lengths of the chunks of one file (or of one segment of a file).
///
/// The lengths add up to `bytes.len()`; an empty input has no chunks.
///
/// # Examples
///
/// ```
/// use cachefs_store::chunk::{MAX_CHUNK, cut_chunks};
///
/// let file: Vec<u8> = (0..1_000_000_u32).map(|i| (i.wrapping_mul(i) >> 8) as u8).collect();
/// let lengths: Vec<usize> = cut_chunks(&file).collect();
/// assert_eq!(lengths.iter().sum::<usize>(), file.len());
/// assert!(lengths.iter().all(|length| *length <= MAX_CHUNK));
///
/// // A small file is one chunk.
/// assert_eq!(cut_chunks(b"fn main() {}").collect::<Vec<_>>(), [12]);
/// ```
pub fn cut_chunks(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let mut start = 0;
    find_landmarks(bytes)
        .into_iter()
        .chain([bytes.len()])
        .flat_map(move |end| ChunkSpan::of(&bytes[std::mem::replace(&mut start, end)..end]))
}

/// Where the format of the content says that something begins or ends.
fn find_landmarks(bytes: &[u8]) -> Vec<usize> {
    match header::header_length(bytes) {
        0 if bytes.len() > WHOLE_FILE_LIMIT => archive::entry_boundaries(bytes),
        0 => Vec::new(),
        header => vec![header],
    }
}

/// The bytes between two landmarks.
enum ChunkSpan<'a> {
    /// No bytes are left.
    Done,
    /// One chunk is all there is.
    Whole(usize),
    /// Boundaries come from the content.
    Content(Box<FastCDC<'a>>),
}

impl<'a> ChunkSpan<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        match bytes.len() {
            0 => Self::Done,
            length @ ..=WHOLE_FILE_LIMIT => Self::Whole(length),
            _ => Self::Content(Box::new(FastCDC::new(
                bytes,
                MIN_CHUNK,
                AVERAGE_CHUNK,
                MAX_CHUNK,
            ))),
        }
    }
}

impl Iterator for ChunkSpan<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::Done => None,
            Self::Whole(length) => {
                let length = *length;
                *self = Self::Done;
                Some(length)
            }
            Self::Content(chunker) => chunker.next().map(|chunk| chunk.length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look like nothing, from a fixed generator (xorshift64*).
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            bytes.extend(state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn small_files_are_one_chunk() {
        assert_eq!(cut_chunks(&[]).count(), 0);
        assert_eq!(cut_chunks(&[1]).collect::<Vec<_>>(), [1]);
        assert_eq!(
            cut_chunks(&vec![7; WHOLE_FILE_LIMIT]).collect::<Vec<_>>(),
            [WHOLE_FILE_LIMIT]
        );
    }

    #[test]
    fn compiled_python_is_cut_behind_its_header() {
        let module = |time: u8, body: &[u8]| {
            let header = [
                0xA7, 0x0D, b'\r', b'\n', 0, 0, 0, 0, time, 1, 2, 3, 9, 0, 0, 0,
            ];
            [&header[..], &[0xE3], body].concat()
        };
        let small = module(1, &noise(3, 999));
        assert_eq!(cut_chunks(&small).collect::<Vec<_>>(), [16, 1000]);
        let body = noise(3, 1 << 20);
        let (one, other) = (module(1, &body), module(2, &body));
        let lengths: Vec<_> = cut_chunks(&one).collect();
        assert_eq!(lengths, cut_chunks(&other).collect::<Vec<_>>());
        assert_eq!(lengths.iter().sum::<usize>(), one.len());
        assert_eq!(lengths[1..], cut_chunks(&one[16..]).collect::<Vec<_>>());
        // A header alone, or one that only looks like it.
        assert_eq!(cut_chunks(&small[..16]).collect::<Vec<_>>(), [16]);
        let mut text = small;
        text[4] = b'x';
        assert_eq!(cut_chunks(&text).collect::<Vec<_>>(), [1016]);
    }

    #[test]
    fn an_archive_built_again_shares_its_entries() {
        let archive = |time: u8, change: &[u8]| {
            let entry = |name: u8, data: &[u8]| {
                let mut bytes = b"PK\x03\x04\x14\0\x08\0\x08\0".to_vec();
                bytes.push(time);
                bytes.extend([0; 15]);
                bytes.extend([1, 0, 0, 0, name]);
                bytes.extend(data);
                bytes
            };
            let entries = (0..40).map(|n| entry(n, &noise(u64::from(n) + 1, 9000)));
            let first = entry(99, change);
            [first]
                .into_iter()
                .chain(entries)
                .collect::<Vec<_>>()
                .concat()
        };
        let chunks = |bytes: &[u8]| {
            let mut offset = 0;
            cut_chunks(bytes)
                .map(|length| {
                    offset += length;
                    (
                        crate::id::ChunkId::of(&bytes[offset - length..offset]),
                        length,
                    )
                })
                .collect::<std::collections::HashMap<_, _>>()
        };
        let (before, after) = (archive(1, &noise(77, 5000)), archive(2, &noise(78, 6000)));
        let (before, mut new) = (chunks(&before), chunks(&after));
        assert!(new.values().sum::<usize>() > 300_000);
        new.retain(|id, _| !before.contains_key(id));
        assert!(new.values().sum::<usize>() < 8_000, "{new:?}");
    }

    #[test]
    fn chunks_cover_the_input_within_bounds() {
        let bytes = noise(1, 3 << 20);
        let lengths: Vec<_> = cut_chunks(&bytes).collect();
        assert_eq!(lengths.iter().sum::<usize>(), bytes.len());
        assert!(lengths.iter().all(|&length| length <= MAX_CHUNK));
        assert!(
            lengths[..lengths.len() - 1]
                .iter()
                .all(|&length| length >= MIN_CHUNK)
        );
    }

    #[test]
    fn an_insertion_moves_only_the_cuts_around_it() {
        let before = noise(2, 4 << 20);
        let mut after = before.clone();
        after.splice(1_000_000..1_000_000, *b"inserted");
        let ids = |bytes: &[u8]| {
            let mut offset = 0;
            cut_chunks(bytes)
                .map(|length| {
                    offset += length;
                    crate::id::ChunkId::of(&bytes[offset - length..offset])
                })
                .collect::<std::collections::HashSet<_>>()
        };
        let (before, after) = (ids(&before), ids(&after));
        assert!(after.difference(&before).count() <= 3);
    }

    /// Format version 1. If this fails, the chunker changed under us: every existing cache would
    /// stop deduplicating without a word. Don't update the numbers; pin the old chunker.
    #[test]
    fn golden_cut_points() {
        let lengths: Vec<_> = cut_chunks(&noise(0x5EED, 1 << 20)).collect();
        assert_eq!(lengths, GOLDEN);
    }
    const GOLDEN: [usize; 14] = [
        70860, 32337, 69488, 147106, 80103, 19470, 35570, 67267, 41465, 26848, 68082, 83047,
        140936, 165997,
    ];
}
