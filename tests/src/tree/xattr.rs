//! Reading and writing extended attributes without following links.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use rustix::io::Errno;

/// The most bytes that the kernel gives a value or a list of names.
const LIMIT: usize = 64 * 1024;

/// Sets one attribute.
///
/// # Errors
///
/// What the system call reports.
pub fn set(path: &Path, name: &OsStr, value: &[u8]) -> rustix::io::Result<()> {
    lsetxattr(path, name, value, XattrFlags::empty())
}

/// All attributes of an entry except those that overlayfs and SELinux keep for themselves.
///
/// # Errors
///
/// What the system calls report; a filesystem without attributes has none.
pub fn all(path: &Path) -> rustix::io::Result<BTreeMap<OsString, Vec<u8>>> {
    // Most entries have none: the answer is then one call into a buffer on the stack.
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
