//! Reads and writes extended attributes without following symlinks.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use rustix::io::Errno;

/// The kernel's size limit in bytes for a value and for a list of names.
const LIMIT: usize = 64 * 1024;

/// Sets one attribute.
///
/// # Errors
///
/// If the system call fails.
pub fn set(path: &Path, name: &OsStr, value: &[u8]) -> rustix::io::Result<()> {
    lsetxattr(path, name, value, XattrFlags::empty())
}

/// All attributes of an entry, except those that overlayfs and SELinux reserve. Empty if the
/// filesystem does not support attributes.
///
/// # Errors
///
/// If a system call fails.
pub fn all(path: &Path) -> rustix::io::Result<BTreeMap<OsString, Vec<u8>>> {
    // Most entries have no attributes; then one call into a stack buffer suffices.
    let mut small = [0_u8; 256];
    let names: Vec<u8> = match llistxattr(path, &mut small[..]) {
        Ok(0) => return Ok(BTreeMap::new()),
        Ok(len) => small[..len].to_vec(),
        Err(Errno::RANGE) => {
            let mut large = vec![0; LIMIT];
            let len = llistxattr(path, &mut large[..])?;
            large.truncate(len);
            large
        }
        Err(Errno::NOTSUP) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut found = BTreeMap::new();
    let names = names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    for name in names.filter(|name| !is_internal(name)) {
        let mut value = vec![0; LIMIT];
        let len = lgetxattr(path, OsStr::from_bytes(name), &mut value[..])?;
        value.truncate(len);
        found.insert(OsString::from_vec(name.to_vec()), value);
    }
    Ok(found)
}

fn is_internal(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.")
        || name.starts_with(b"user.overlay.")
        || name == b"security.selinux"
}
