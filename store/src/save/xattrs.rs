//! Reading extended attributes.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::reading::Reading;
use crate::layer::Xattrs;

/// Attributes of an open file.
pub(super) fn of_fd(fd: BorrowedFd<'_>, reading: &dyn Reading) -> io::Result<Xattrs> {
    read_xattrs(
        reading,
        |buffer| rustix::fs::flistxattr(fd, buffer),
        |name, buffer| rustix::fs::fgetxattr(fd, name, buffer),
    )
}

/// Attributes of a directory's entry, which may be a symbolic link or a device.
pub(super) fn of_entry(
    parent: BorrowedFd<'_>,
    name: &CStr,
    reading: &dyn Reading,
) -> io::Result<Xattrs> {
    let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    read_xattrs(
        reading,
        |buffer| rustix::fs::llistxattr(&path[..], buffer),
        |name, buffer| rustix::fs::lgetxattr(&path[..], name, buffer),
    )
}

/// Calls until the buffer is large enough; attributes may grow between two calls.
fn fill_buffer(
    mut call: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
    buffer: &mut Vec<u8>,
) -> Result<(), Errno> {
    loop {
        match call(buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(());
            }
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            Err(errno) => return Err(errno),
        }
    }
}

fn read_xattrs(
    reading: &dyn Reading,
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&CStr, &mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Xattrs> {
    let mut names = [0; 256];
    let names = match list(&mut names) {
        Ok(0) => return Ok(Xattrs::default()),
        Ok(length) => names[..length].to_vec(),
        Err(Errno::RANGE) => {
            let mut names = vec![0; 4096];
            fill_buffer(&list, &mut names)?;
            names
        }
        // No attributes to be had here (a filesystem without them), so none to save.
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Xattrs::default()),
        Err(errno) => return Err(errno.into()),
    };
    let mut attributes = Vec::new();
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if !reading.keep_xattr(name.to_bytes()) {
            continue;
        }
        let mut value = vec![0; 1024];
        match fill_buffer(|buffer| get(name, buffer), &mut value) {
            Ok(()) => attributes.push((name.to_bytes().to_vec(), value)),
            // Removed meanwhile, or listed without being readable by this user.
            Err(Errno::NODATA | Errno::NOTSUP | Errno::ACCESS | Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Xattrs::new(attributes).map_err(io::Error::other)
}
