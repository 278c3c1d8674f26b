//! POSIX ACLs in the kernel's extended attribute encoding.

/// The attribute with a file's access ACL.
pub const ACCESS: &str = "system.posix_acl_access";
/// The attribute with a directory's default ACL.
pub const DEFAULT: &str = "system.posix_acl_default";

/// The only version of the encoding.
const VERSION: u32 = 2;
/// The id in entries without a user or group.
const NOBODY: u32 = u32::MAX;

/// The subject of an ACL entry. Variants are in the order that the encoding requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The file's owner.
    Owner,
    /// A user by id.
    User(u32),
    /// The file's group.
    OwningGroup,
    /// A group by id.
    Group(u32),
    /// The upper limit for the rights of named users and all groups.
    Mask,
    /// All other users.
    Other,
}

/// Encodes ACL entries: subject and permission bits (4 read, 2 write, 1 execute).
///
/// An ACL needs entries for the owner, the owning group and others. With named entries, it also
/// needs a mask.
#[must_use]
pub fn encode(entries: &[(Who, u16)]) -> Vec<u8> {
    let mut sorted = entries.to_vec();
    sorted.sort();
    let mut out = VERSION.to_le_bytes().to_vec();
    for (who, permissions) in sorted {
        let (tag, id): (u16, u32) = match who {
            Who::Owner => (0x01, NOBODY),
            Who::User(id) => (0x02, id),
            Who::OwningGroup => (0x04, NOBODY),
            Who::Group(id) => (0x08, id),
            Who::Mask => (0x10, NOBODY),
            Who::Other => (0x20, NOBODY),
        };
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&permissions.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    out
}

/// An ACL that gives one additional user read access.
#[must_use]
pub fn readable_by(uid: u32) -> Vec<u8> {
    encode(&[
        (Who::Owner, 6),
        (Who::User(uid), 4),
        (Who::OwningGroup, 4),
        (Who::Mask, 4),
        (Who::Other, 0),
    ])
}
