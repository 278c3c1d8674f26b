//! Headers that change where the rest does not.

/// Length of the header of compiled Python.
const PYC: usize = 16;

/// Length of the header at the start of `bytes`; 0 if there is no known header.
///
/// The only known header is that of compiled Python (3.7 and later, PEP 552): two bytes of version,
/// CR, LF, four bytes of flags (only the lowest two bits are used), then time and size of the
/// source, or its hash. A code object follows, with or without its reference bit. The name of the
/// file does not matter, so a renamed file has the same chunks.
pub(super) fn header_length(bytes: &[u8]) -> usize {
    match bytes {
        [_, _, b'\r', b'\n', 0..=3, 0, 0, 0, rest @ ..]
            if matches!(rest.get(PYC - 8), Some(0xE3 | 0x63)) =>
        {
            PYC
        }
        _ => 0,
    }
}
