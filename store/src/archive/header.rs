//! One block that describes a member.

use tar::Header;

use super::failure;
use super::pax::{self, PaxRecords};
use crate::error::Result;
use crate::layer::{Meta, Timestamp, Xattrs, mode};

/// The unit in which archives are laid out.
pub(super) const BLOCK: usize = 512;

/// Takes a block as a header; `None` for the zeros that end an archive.
pub(super) fn parse_header(block: &[u8; BLOCK]) -> Result<Option<Header>> {
    if block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let header = Header::from_byte_slice(block).clone();
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| match at {
            148..156 => u32::from(b' '),
            _ => u32::from(*byte),
        })
        .sum();
    match header.cksum() {
        Ok(stated) if stated == sum => Ok(Some(header)),
        _ => Err(failure::damaged(
            "wrong header checksum, or not a tar archive",
        )),
    }
}

/// The attributes that a header and its records give, with the type bits `kind`.
pub(super) fn member_meta(header: &Header, records: &PaxRecords, kind: u32) -> Result<Meta> {
    let wrong = |what: &str| failure::damaged(format!("a header's {what} is not a number"));
    let id = |key: &str, own: std::io::Result<u64>| -> Result<u32> {
        let id = match records.number(key)? {
            Some(id) => id,
            None => own.map_err(|_| wrong(key))?,
        };
        u32::try_from(id).map_err(|_| wrong(key))
    };
    let mtime = match records.get("mtime") {
        Some(text) => pax::parse_timestamp(text).ok_or_else(|| wrong("mtime"))?,
        None => Timestamp {
            // A time before 1970 is stored as the same bits as a signed number.
            seconds: header.mtime().map_err(|_| wrong("mtime"))? as i64,
            nanos: 0,
        },
    };
    let permissions = header.mode().map_err(|_| wrong("mode"))? & 0o7777;
    Ok(Meta {
        mode: kind | permissions,
        uid: id("uid", header.uid())?,
        gid: id("gid", header.gid())?,
        mtime,
        xattrs: member_xattrs(records)?,
    })
}

/// The prefix under which tools keep extended attributes.
pub(super) const XATTR: &str = "SCHILY.xattr.";

fn member_xattrs(records: &PaxRecords) -> Result<Xattrs> {
    let mut attributes = std::collections::BTreeMap::new();
    for (key, value) in records.iter() {
        let Some(name) = key.strip_prefix(XATTR.as_bytes()) else {
            continue;
        };
        // The overlay's own attributes would mislead an overlay on top.
        let of_overlay =
            name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
        let has_space = name.split(|byte| *byte == b'.').count() > 1 && !name.contains(&0);
        if has_space && name.len() <= 255 && !of_overlay {
            attributes.insert(decode_keyword(name), value.to_vec());
        }
    }
    Xattrs::new(attributes.into_iter().collect())
}

/// Decodes the two characters that GNU tar escapes in a keyword.
fn decode_keyword(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'%', [b'3', b'D', after @ ..]) => {
                plain.push(b'=');
                after
            }
            (b'%', [b'2', b'5', after @ ..]) => {
                plain.push(b'%');
                after
            }
            _ => {
                plain.push(byte);
                after
            }
        };
    }
    plain
}

/// Encodes characters that [`decode_keyword`] decodes.
pub(super) fn encode_keyword(name: &[u8]) -> Vec<u8> {
    let mut keyword = Vec::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'=' => keyword.extend_from_slice(b"%3D"),
            b'%' => keyword.extend_from_slice(b"%25"),
            _ => keyword.push(byte),
        }
    }
    keyword
}

/// The device that a header names.
pub(super) fn is_device(kind: u8) -> bool {
    matches!(kind, b'3' | b'4')
}

/// The type bits of a member, by its type flag; `None` if it is not a file.
pub(super) fn type_bits(flag: u8) -> Option<u32> {
    Some(match flag {
        b'0' | 0 | b'7' | b'S' => mode::FILE,
        b'2' => mode::SYMLINK,
        b'5' => mode::DIRECTORY,
        b'6' => mode::FIFO,
        _ => return None,
    })
}
