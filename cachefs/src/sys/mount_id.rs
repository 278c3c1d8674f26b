//! The number of the mount that a descriptor is on.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

/// Where the kernel describes the descriptors of this process. Held open, it can be asked from another
/// mount namespace as well.
#[derive(Debug)]
pub(crate) struct MountIds(OwnedFd);

impl MountIds {
    /// Opens the directory.
    ///
    /// # Errors
    ///
    /// When `/proc` is not there.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(
            "/proc/self/fdinfo",
            flags,
            Mode::empty(),
        )?))
    }

    /// Returns the id of the mount of an open file or directory, as mount tables show it. Unlike
    /// `statx`, this sends no request to the filesystem, so it works for a mount whose server is
    /// gone.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub(crate) fn of(&self, fd: impl AsFd) -> io::Result<u64> {
        let name = fd.as_fd().as_raw_fd().to_string();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mut info =
            std::fs::File::from(rustix::fs::openat(&self.0, name, flags, Mode::empty())?);
        let text = io::read_to_string(&mut info)?;
        let number = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
        number
            .and_then(|number| number.trim().parse().ok())
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sys::mountinfo::MountTable;

    #[test]
    fn a_directory_is_on_the_mount_that_the_table_says() {
        let ids = MountIds::open().unwrap();
        let table = MountTable::read().unwrap();
        for path in ["/", "/proc"] {
            let directory = std::fs::File::open(path).unwrap();
            let mount = table.topmost_at(Path::new(path)).unwrap();
            assert_eq!(ids.of(&directory).unwrap(), mount.id, "{path}");
        }
    }
}
