//! Finds the containers that have a directory as a volume.
//!
//! A container engine binds the directory into the container's mount namespace. So the mount tables
//! of all processes show whether any container uses it, whatever engine started it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::mountinfo::{MountEntry, MountTable};

/// A directory as every mount table names it: the device of its filesystem, and where it is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DeviceInode {
    device: (u32, u32),
    root: PathBuf,
}

/// The number of mount namespaces in which a directory is mounted at another place than its own.
///
/// `directory` is absolute and free of symbolic links. A namespace counts when a process in it can
/// be looked at; a process that may not be, or is outside of this PID namespace, is passed over.
///
/// # Errors
///
/// When the mount table of this process cannot be read.
pub fn seen_by(directory: &Path) -> io::Result<usize> {
    let Some(place) = DeviceInode::of(directory, &MountTable::read()?) else {
        return Ok(0);
    };
    let mut looked_at = HashSet::new();
    let processes = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let sees = processes.filter(|pid| {
        let own = Path::new("/proc").join(pid);
        let Ok(namespace) = fs::read_link(own.join("ns/mnt")) else {
            return false;
        };
        if !looked_at.insert(namespace) {
            return false;
        }
        let table = fs::read(own.join("mountinfo")).and_then(|text| MountTable::parse(&text));
        // A namespace that is a copy of this one, such as that of a service, has the directory at
        // the same path and does not use it.
        table.is_ok_and(|table| place.is_mounted_apart_from(directory, &table))
    });
    Ok(sees.count())
}

impl DeviceInode {
    fn of(directory: &Path, table: &MountTable) -> Option<Self> {
        let mount = mount_of(directory, table)?;
        let below = directory.strip_prefix(&mount.mount_point).ok()?;
        Some(Self {
            device: mount.device,
            root: match below.as_os_str().is_empty() {
                true => mount.root.clone(),
                false => mount.root.join(below),
            },
        })
    }

    fn is_mounted_apart_from(&self, directory: &Path, table: &MountTable) -> bool {
        table.entries().iter().any(|mount| {
            mount.device == self.device
                && mount.root.starts_with(&self.root)
                && !directory.starts_with(&mount.mount_point)
        })
    }
}

/// The mount that a directory is on.
fn mount_of<'a>(directory: &Path, table: &'a MountTable) -> Option<&'a MountEntry> {
    table.covering(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &[u8] = b"\
20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
21 20 0:50 / /store/volumes/m2/data rw - overlay cachefs rw\n\
22 20 8:1 /other /mnt rw - ext4 /dev/sda1 rw\n";

    fn table(text: &[u8]) -> MountTable {
        MountTable::parse(text).unwrap()
    }

    #[test]
    fn a_directory_has_one_place_whatever_it_is_on() {
        let host = table(HOST);
        let place = |path: &str| DeviceInode::of(Path::new(path), &host).unwrap();
        let (overlay, plain) = (
            place("/store/volumes/m2/data"),
            place("/store/volumes/n/data"),
        );
        assert_eq!(
            (overlay.device, overlay.root.to_str()),
            ((0, 50), Some("/"))
        );
        assert_eq!(
            (plain.device, plain.root.to_str()),
            ((8, 1), Some("/store/volumes/n/data"))
        );
        assert_eq!(place("/mnt/x").root, Path::new("/other/x"));
    }

    #[test]
    fn containers_see_it_and_copies_of_the_host_do_not() {
        let host = table(HOST);
        let container = table(
            b"30 1 0:60 / / rw - overlay overlay rw\n31 30 0:50 / /root/.m2 rw - overlay cachefs rw\n\
              32 30 8:1 /store/volumes/n/data/sub /cache rw - ext4 /dev/sda1 rw\n",
        );
        for volume in ["/store/volumes/m2/data", "/store/volumes/n/data"] {
            let place = DeviceInode::of(Path::new(volume), &host).unwrap();
            assert!(place.is_mounted_apart_from(Path::new(volume), &container));
            assert!(!place.is_mounted_apart_from(Path::new(volume), &host));
        }
        let other = Path::new("/store/volumes/other/data");
        let place = DeviceInode::of(other, &host).unwrap();
        assert!(!place.is_mounted_apart_from(other, &container));
    }
}
