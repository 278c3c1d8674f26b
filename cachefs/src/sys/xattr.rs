//! Extended attributes of an entry of an open directory, whatever its type.
//!
//! There is no `getxattrat` before Linux 6.13, and links, devices and unreadable files cannot be
//! opened for reading. `/proc/self/fd/DIR/NAME` with the `l` variants works for all of them.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// The kernel's limits: a list of names, and a value, have 64 KiB at most.
const MAX_XATTR: usize = 64 << 10;

/// The entry whose attributes are read: a name in a directory, or an open file itself.
pub(super) struct XattrTarget(CString);

impl XattrTarget {
    /// The entry `name` of `dir`. A name with a slash or NUL is `InvalidInput`.
    pub(super) fn at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Self> {
        if name.is_empty() || name.contains(&b'/') || name == b"." || name == b".." {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        Ok(Self(CString::new(path)?))
    }

    /// The directory behind a descriptor (which may be an `O_PATH` one).
    pub(super) fn directory(dir: BorrowedFd<'_>) -> Self {
        let path = format!("/proc/self/fd/{}/.", dir.as_raw_fd());
        Self(CString::new(path).expect("digits and slashes hold no NUL byte"))
    }

    /// The names of all attributes; none where the filesystem has no attributes.
    pub(super) fn list(&self) -> io::Result<Vec<CString>> {
        let bytes = read_with_growth(256, |buffer| rustix::fs::llistxattr(&self.0, buffer))?;
        let names = bytes.unwrap_or_default();
        let names = names.split_inclusive(|&byte| byte == 0);
        Ok(names
            .filter_map(|name| CStr::from_bytes_with_nul(name).ok().map(CStr::to_owned))
            .collect())
    }

    /// The value of an attribute; `None` where it is not there.
    pub(super) fn get(&self, name: &CStr) -> io::Result<Option<Vec<u8>>> {
        read_with_growth(256, |buffer| rustix::fs::lgetxattr(&self.0, name, buffer))
    }
}

/// Calls with a small buffer first, and with the largest that can be needed if that is too small.
fn read_with_growth(
    expected: usize,
    call: impl Fn(&mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Option<Vec<u8>>> {
    for size in [expected, MAX_XATTR] {
        let mut buffer = vec![0; size];
        match call(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
            Err(Errno::RANGE) if size < MAX_XATTR => {}
            Err(Errno::NODATA | Errno::NOTSUP) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::RANGE.into())
}

/// All attributes of a directory, names and values.
///
/// # Errors
/// Those of opening it or reading them; a filesystem without attributes returns none.
pub(crate) fn of_directory(path: &std::path::Path) -> io::Result<Vec<(CString, Vec<u8>)>> {
    let directory = std::fs::File::open(path)?;
    let entry = XattrTarget::directory(std::os::fd::AsFd::as_fd(&directory));
    let mut attributes = Vec::new();
    for name in entry.list()? {
        if let Some(value) = entry.get(&name)? {
            attributes.push((name, value));
        }
    }
    Ok(attributes)
}
