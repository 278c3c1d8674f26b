//! Keys, scopes and parts as path segments of object names.

/// An encoded key is split into segments of at least this many bytes, for filesystems' sake.
pub(super) const SEGMENT: usize = 128;

/// Writes any text as path segments so that a prefix of the text is a prefix of the result.
///
/// Letters, digits, `_`, `-` and `.` stand for themselves; other bytes are `~` and two uppercase
/// hexadecimal digits, as is a `.` at the start of a segment.
pub(super) fn encode_segments(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut segment = 0;
    for byte in text.bytes() {
        if segment >= SEGMENT {
            out.push('/');
            segment = 0;
        }
        let before = out.len();
        match byte {
            b'.' if segment == 0 => out.push_str("~2E"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => out.push(byte as char),
            _ => {
                out.push('~');
                for nibble in [byte >> 4, byte & 15] {
                    out.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
                }
            }
        }
        segment += out.len() - before;
    }
    out
}

pub(super) fn decode_segments(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes().filter(|byte| *byte != b'/');
    while let Some(byte) = rest.next() {
        if byte == b'~' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push((digit()? * 16 + digit()?) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
