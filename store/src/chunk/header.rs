//! Headers that change where the rest does not.

/// Length of the header of compiled Python.
const PYC: usize = 16;

/// Length of the header that `bytes` begin with; 0 when they begin with none that is known.
///
/// Known is that of compiled Python (3.7 and later, PEP 552): two bytes of version, CR, LF, four
/// bytes of flags of which the lowest two bits are in use, then time and size of the source or a
/// hash of it. What follows is a code object, with or without the bit that lets others refer to it.
/// Only content decides, so that a file is cut alike under any name.
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
