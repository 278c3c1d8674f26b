//! File contents generated from a seed, so that a specification of gigabytes is only a few numbers.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;

/// Bytes written at a time.
const BLOCK: usize = 64 * 1024;

/// The content of a regular file.
///
/// Half of the bytes are random and half repeat them, which compresses about as well as real files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Length in bytes.
    pub len: u64,
    /// Seed of the bytes: equal seeds give equal bytes at equal offsets.
    pub seed: u64,
    /// Ranges that are never written and read as zeros. Sorted, disjoint and within the length.
    pub holes: Vec<Range<u64>>,
}

impl Content {
    /// Creates content without holes.
    #[must_use]
    pub fn new(len: u64, seed: u64) -> Self {
        Self {
            len,
            seed,
            holes: Vec::new(),
        }
    }

    /// Writes the content to an empty `file`.
    ///
    /// # Errors
    ///
    /// If a system call fails.
    pub fn write_to(&self, file: &mut File) -> io::Result<()> {
        let mut at = 0;
        for hole in &self.holes {
            self.write_range(file, at..hole.start)?;
            at = hole.end;
        }
        self.write_range(file, at..self.len)?;
        file.set_len(self.len)
    }

    fn write_range(&self, file: &mut File, range: Range<u64>) -> io::Result<()> {
        file.seek(SeekFrom::Start(range.start))?;
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(BLOCK as u64);
            file.write_all(&bytes(self.seed, at, len as usize))?;
            at += len;
        }
        Ok(())
    }
}

/// The `len` bytes at offset `at` in the infinite stream of `seed`.
#[must_use]
pub fn bytes(seed: u64, at: u64, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 16);
    let mut word = at / 8;
    let skip = (at % 8) as usize;
    while out.len() < len + skip {
        // The second half of every 64 bytes repeats the first half.
        let source = if word % 8 >= 4 { word - 4 } else { word };
        out.extend_from_slice(&mix(seed, source).to_le_bytes());
        word += 1;
    }
    out.drain(..skip);
    out.truncate(len);
    out
}

/// The splitmix64 finaliser over a seed and a position.
fn mix(seed: u64, position: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0xd134_2543_de82_ef95)
        .wrapping_add(position.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_stretch_equals_the_whole() {
        let whole = bytes(7, 0, 1000);
        for (at, len) in [(0, 1000), (1, 1), (7, 9), (63, 130), (999, 1), (500, 0)] {
            assert_eq!(bytes(7, at as u64, len), whole[at..at + len], "{at} {len}");
        }
        assert_ne!(bytes(8, 0, 1000), whole);
    }
}
