//! Zip archives: jars, wheels, and whatever else holds entries.

use memchr::memmem;

/// The first bytes of a local file header (APPNOTE.TXT, 4.3.7).
const SIGNATURE: &[u8] = b"PK\x03\x04";
/// Length of a local file header without the name and the extra field.
const FIXED: usize = 30;
/// Names are at most this long; a longer one is taken for chance.
const MAX_NAME: usize = 1024;
/// Entries below this many bytes are not cut off: their chunks would cost more than they save.
const MIN_ENTRY: usize = 4 << 10;

/// Where the data of the larger entries begins and ends, in order.
///
/// The headers contain the times of the entries, which change with every build of the archive, and
/// an entry that grows moves all later ones. We scan for headers instead of following them: a
/// streamed archive does not record the lengths in them, and the central directory at the end may
/// be in another segment. A false match only adds a boundary.
pub(super) fn entry_boundaries(bytes: &[u8]) -> Vec<usize> {
    let mut boundaries = Vec::new();
    let mut data = None;
    let headers = memmem::find_iter(bytes, SIGNATURE)
        .filter_map(|start| Some((start, start + header_length(&bytes[start..])?)));
    for (start, end) in headers.chain([(bytes.len(), bytes.len())]) {
        if let Some(data) = data.filter(|data| start.saturating_sub(*data) >= MIN_ENTRY) {
            boundaries.extend([data, start]);
        }
        data = Some(end);
    }
    boundaries
}

/// Length of the local file header at the start of `bytes`, if it is one.
fn header_length(bytes: &[u8]) -> Option<usize> {
    let number = |at: usize| {
        Some(usize::from(u16::from_le_bytes([
            *bytes.get(at)?,
            *bytes.get(at + 1)?,
        ])))
    };
    let (version, method, name, extra) = (number(4)?, number(8)?, number(26)?, number(28)?);
    // The version needed to extract is 6.3 at most. Stored, deflate, bzip2, LZMA, zstd, xz.
    let is_plausible = version <= 63
        && matches!(method, 0 | 8 | 12 | 14 | 93 | 95)
        && (1..=MAX_NAME).contains(&name);
    let length = FIXED + name + extra;
    (is_plausible && length <= bytes.len()).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, time: u16, data: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([20, 0, 8, 0, 8, 0]);
        bytes.extend(time.to_le_bytes());
        bytes.extend([0; 14]);
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(name.bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn large_entries_stand_by_themselves() {
        let archive = [
            entry("a", 1, &[1; 5000]),
            entry("small", 1, &[2; 100]),
            entry("b", 1, &[3; 4096]),
        ]
        .concat();
        assert_eq!(
            entry_boundaries(&archive),
            [31, 5031, 5031 + 135 + 31, archive.len()]
        );
    }

    #[test]
    fn what_only_looks_like_a_header_is_none() {
        let mut long = entry("a", 1, &[]);
        long[26..28].copy_from_slice(&2000u16.to_le_bytes());
        let mut method = entry("a", 1, &[]);
        method[8] = 77;
        for chance in [&long[..], &method, &SIGNATURE.repeat(9)] {
            let bytes = [&[7; 5000], chance, &[7; 5000]].concat();
            assert_eq!(entry_boundaries(&bytes), [0usize; 0], "{chance:?}");
        }
        let cut_short = [&[7; 5000], &entry("a", 1, &[])[..30]].concat();
        assert_eq!(entry_boundaries(&cut_short), [0usize; 0]);
    }
}
