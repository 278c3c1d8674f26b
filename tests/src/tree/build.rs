//! Creates the tree that a specification describes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, makedev, mknodat, utimensat};

use super::{Entry, Kind, Time, TreeSpec, xattr};

/// Creates all entries, then sets the directory times, which creating entries changes.
pub(super) fn build(spec: &TreeSpec, root: &Path) -> Result<()> {
    for entry in &spec.entries {
        let path = root.join(&entry.path);
        create(entry, root, &path).with_context(|| format!("cannot make {path:?}"))?;
    }
    for entry in spec.entries.iter().rev() {
        if matches!(entry.kind, Kind::Dir) {
            let path = root.join(&entry.path);
            // Set this after filling the directory: its mode may lack write or search permission.
            apply_meta(entry, &path).with_context(|| format!("cannot set up {path:?}"))?;
        }
    }
    Ok(())
}

fn create(entry: &Entry, root: &Path, path: &Path) -> Result<()> {
    match &entry.kind {
        Kind::File(content) => content.write_to(&mut File::create_new(path)?)?,
        Kind::Dir => {
            // The metadata is set at the end.
            return Ok(fs::create_dir(path)?);
        }
        Kind::Symlink(target) => symlink(target, path)?,
        Kind::Hardlink(target) => {
            // The inode is shared, so its metadata is already set.
            return Ok(fs::hard_link(root.join(target), path)?);
        }
        Kind::Fifo => node(path, FileType::Fifo, 0)?,
        Kind::CharDevice(major, minor) => {
            node(path, FileType::CharacterDevice, makedev(*major, *minor))?;
        }
        Kind::BlockDevice(major, minor) => {
            node(path, FileType::BlockDevice, makedev(*major, *minor))?;
        }
        Kind::Socket => node(path, FileType::Socket, 0).or_else(|_| {
            // Needs no privileges, but the path must fit into a socket address.
            UnixListener::bind(path).map(drop)
        })?,
    }
    apply_meta(entry, path)
}

fn node(path: &Path, kind: FileType, device: u64) -> std::io::Result<()> {
    Ok(mknodat(CWD, path, kind, Mode::RUSR | Mode::WUSR, device)?)
}

/// Applies an entry's metadata, in an order in which no step undoes another.
fn apply_meta(entry: &Entry, path: &Path) -> Result<()> {
    let meta = &entry.meta;
    if let Some(owner) = meta.owner {
        // Before the mode: `chown` clears setuid and setgid.
        lchown(path, Some(owner.uid), Some(owner.gid)).context("chown")?;
    }
    if !matches!(entry.kind, Kind::Symlink(_)) {
        fs::set_permissions(path, fs::Permissions::from_mode(meta.mode)).context("chmod")?;
    }
    for (name, value) in &meta.xattrs {
        xattr::set(path, name, value).with_context(|| format!("attribute {name:?}"))?;
    }
    set_mtime(path, meta.mtime).context("utimensat")?;
    Ok(())
}

/// Sets the modification time of an entry, without following symlinks.
pub(super) fn set_mtime(path: &Path, time: Time) -> rustix::io::Result<()> {
    let time = Timespec {
        tv_sec: time.sec,
        tv_nsec: time.nsec.into(),
    };
    let both = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(
        CWD,
        path.as_os_str() as &OsStr,
        &both,
        AtFlags::SYMLINK_NOFOLLOW,
    )
}
