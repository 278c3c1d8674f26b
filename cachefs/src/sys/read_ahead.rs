//! How much the kernel reads ahead on a mount.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{major, minor, stat};

/// Sets the read-ahead of the filesystem that `path` is on, in bytes.
///
/// # Errors
/// When sysfs is not there or not writable, as in most containers: the default then stays.
pub fn set_read_ahead(path: &Path, bytes: u32) -> io::Result<()> {
    let device = stat(path)?.st_dev;
    let file = format!(
        "/sys/class/bdi/{}:{}/read_ahead_kb",
        major(device),
        minor(device)
    );
    fs::write(file, (bytes >> 10).to_string())
}
