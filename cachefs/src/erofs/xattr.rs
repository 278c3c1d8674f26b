//! Extended attributes behind an inode record.

use cachefs_store::layer::Xattrs;
use cachefs_store::{Error, Result};

/// Bytes before the first attribute.
const HEADER: usize = 12;
/// Attributes are counted in units of this many bytes.
const UNIT: usize = 4;

/// Prefixes of names that have a number instead. The first two stand for the whole name.
const PREFIXES: [(&[u8], u8); 5] = [
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"user.", 1),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// The attributes as they lie behind the inode record; empty when there are none.
///
/// # Errors
/// [`Error::Unsupported`] for attributes that the format has no room or no number for.
pub(super) fn encode_xattrs(xattrs: &Xattrs) -> Result<Vec<u8>> {
    if xattrs.is_empty() {
        return Ok(Vec::new());
    }
    let mut out = vec![0; HEADER];
    for (name, value) in xattrs.iter() {
        let (number, rest) = PREFIXES
            .iter()
            .find_map(|(prefix, number)| Some((*number, name.strip_prefix(*prefix)?)))
            .ok_or_else(|| unsupported_xattr(name))?;
        let length = u8::try_from(rest.len()).map_err(|_| unsupported_xattr(name))?;
        let size = u16::try_from(value.len()).map_err(|_| unsupported_xattr(name))?;
        out.extend_from_slice(&[length, number]);
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(rest);
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(UNIT), 0);
    }
    if u16::try_from(inode_xattr_count(&out)).is_err() {
        return Err(unsupported_xattr(b"all of them"));
    }
    Ok(out)
}

/// The attribute count in the inode record, for attributes of this encoding.
pub(super) fn inode_xattr_count(encoded: &[u8]) -> usize {
    match encoded.len() {
        0 => 0,
        length => (length - HEADER) / UNIT + 1,
    }
}

fn unsupported_xattr(name: &[u8]) -> Error {
    Error::Unsupported {
        what: "an image of the cache".to_owned(),
        detail: format!(
            "it has no place for the extended attribute {}",
            name.escape_ascii()
        ),
    }
}
