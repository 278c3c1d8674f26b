//! Which files the kernel holds pages of.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The number of `cachestat(2)`, the same on every architecture; since Linux 6.5.
const CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range` of the kernel: all of a file when both are 0.
#[repr(C)]
struct Range {
    offset: u64,
    length: u64,
}

/// `struct cachestat` of the kernel.
#[repr(C)]
#[derive(Default)]
struct Pages {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Whether the kernel caches a page of this file, or did so a short while ago.
///
/// Pages are cached when a file is read or mapped through its own filesystem. So for a file that no
/// other program touches, this shows whether it was read. A file whose pages were evicted long ago
/// looks like one that was never read.
///
/// # Errors
/// `ENOSYS` before Linux 6.5, `EPERM` for files of other users.
pub fn has_pages(file: BorrowedFd<'_>) -> io::Result<bool> {
    let range = Range {
        offset: 0,
        length: 0,
    };
    let mut pages = Pages::default();
    // SAFETY: the kernel reads one `Range` and writes one `Pages`, both of which are laid out as it
    // has them and live until the call returns; the descriptor is open for as long.
    let outcome = unsafe {
        libc::syscall(
            CACHESTAT,
            file.as_raw_fd(),
            &raw const range,
            &raw mut pages,
            0,
        )
    };
    match outcome {
        0 => Ok(pages.cached + pages.evicted > 0),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_was_written_or_read_has_pages() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "content").unwrap();
        let empty = std::fs::File::create(dir.path().join("empty")).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        match has_pages(file.as_fd()) {
            Ok(has) => assert!(has && !has_pages(empty.as_fd()).unwrap()),
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    ErrorKind::Unsupported | ErrorKind::PermissionDenied
                ),
                "{error}"
            ),
        }
    }
}
