//! Pages: the unit in which a layer's tables are compressed, fetched and verified.

use crate::error::{Error, Result};

/// A page holds at most this many raw bytes.
pub(super) const PAGE: usize = 256 << 10;

/// The zstd level of pages. Pages are a few percent of a cache's bytes, but a restore waits for all
/// of them, so a higher level than that of frames pays.
const LEVEL: i32 = 6;

/// Puts the first bytes of all records side by side, then the second bytes, and so on: columns of
/// equal or slowly changing bytes, which compress far better than records.
fn shuffle_columns(raw: &[u8], record: usize) -> Vec<u8> {
    let count = raw.len() / record;
    let mut out = vec![0; raw.len()];
    for (row, bytes) in raw.chunks_exact(record).enumerate() {
        for (column, byte) in bytes.iter().enumerate() {
            out[column * count + row] = *byte;
        }
    }
    out
}

fn unshuffle_columns(columns: &[u8], record: usize) -> Vec<u8> {
    let count = columns.len() / record;
    let mut out = vec![0; columns.len()];
    for (column, bytes) in columns.chunks_exact(count.max(1)).enumerate() {
        for (row, byte) in bytes.iter().enumerate() {
            out[row * record + column] = *byte;
        }
    }
    out
}

/// Encodes a page of whole records.
pub(super) fn encode_page(raw: &[u8], record: usize) -> std::io::Result<Vec<u8>> {
    if record == 1 {
        return zstd::bulk::compress(raw, LEVEL);
    }
    zstd::bulk::compress(&shuffle_columns(raw, record), LEVEL)
}

/// Checks and decodes a page.
pub(super) fn decode_page(
    stored: &[u8],
    hash: &[u8; 32],
    raw_length: usize,
    record: usize,
) -> Result<Vec<u8>> {
    let damaged = |detail: &str| Error::damaged("a layer's page", detail);
    if *blake3::hash(stored).as_bytes() != *hash {
        return Err(damaged("hash mismatch"));
    }
    if raw_length > PAGE || !raw_length.is_multiple_of(record) {
        return Err(damaged("invalid length"));
    }
    let raw = zstd::bulk::decompress(stored, raw_length).map_err(|e| damaged(&e.to_string()))?;
    if raw.len() != raw_length {
        return Err(damaged("unexpected decoded length"));
    }
    Ok(if record == 1 {
        raw
    } else {
        unshuffle_columns(&raw, record)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_round_trip() {
        for record in [1, 12, 56] {
            let raw: Vec<u8> = (0..record * 1000).map(|n| (n * 7 % 251) as u8).collect();
            let stored = encode_page(&raw, record).unwrap();
            let hash = *blake3::hash(&stored).as_bytes();
            assert_eq!(decode_page(&stored, &hash, raw.len(), record).unwrap(), raw);
            assert!(decode_page(&stored, &[0; 32], raw.len(), record).is_err());
            assert!(decode_page(&stored, &hash, raw.len() + record, record).is_err());
        }
    }
}
