//! The mount table of this process.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcMount {
    /// The mount point.
    pub(crate) point: PathBuf,
    /// The filesystem type, for example `ext4`.
    pub(crate) kind: String,
    /// The mount source, for example `/dev/sda1`.
    pub(crate) source: String,
}

/// The mounts visible to this process; each comes after the mount that it is on.
pub(crate) fn all_mounts() -> io::Result<Vec<ProcMount>> {
    let table = fs::read("/proc/self/mountinfo")?;
    Ok(table
        .split(|&byte| byte == b'\n')
        .filter_map(parse_mount)
        .collect())
}

/// Mount points at or below a directory.
pub(crate) fn mounts_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let points = all_mounts()?.into_iter().map(|mount| mount.point);
    Ok(points.filter(|point| point.starts_with(dir)).collect())
}

/// The mount that contains a path. The path must be absolute and free of symlinks.
pub(crate) fn mount_of(path: &Path) -> io::Result<Option<ProcMount>> {
    let mounts = all_mounts()?
        .into_iter()
        .filter(|mount| path.starts_with(&mount.point));
    // With stacked mounts on one point the topmost is last, and `max_by_key` returns the last
    // maximum.
    Ok(mounts.max_by_key(|mount| mount.point.components().count()))
}

/// Parses `id parent device root point options... - type source options`.
fn parse_mount(line: &[u8]) -> Option<ProcMount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let point = fields.nth(4)?;
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = fields.next()?;
    let source = fields.next().unwrap_or_default();
    Some(ProcMount {
        point: PathBuf::from(OsString::from_vec(unescape_octal(point))),
        kind: String::from_utf8_lossy(kind).into_owned(),
        source: String::from_utf8_lossy(&unescape_octal(source)).into_owned(),
    })
}

/// Decodes octal escapes, for example `\040` for a space.
fn unescape_octal(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\')
            .then(|| tail.get(..3).and_then(parse_octal))
            .flatten();
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    bytes
}

fn parse_octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_and_without_optional_fields_and_blanks_are_read() {
        let line = b"36 35 98:0 / /mnt/two\\040words rw,noatime master:1 - ext4 /dev/root rw";
        let mount = parse_mount(line).unwrap();
        assert_eq!(mount.point, Path::new("/mnt/two words"));
        assert_eq!((&*mount.kind, &*mount.source), ("ext4", "/dev/root"));
        let line = b"36 35 0:52 / /mnt rw - fuse.cachefs cachefs rw,user_id=0";
        assert_eq!(parse_mount(line).unwrap().kind, "fuse.cachefs");
        assert_eq!(parse_mount(b""), None);
    }

    #[test]
    fn every_path_is_on_a_mount() {
        assert!(mount_of(Path::new("/")).unwrap().is_some());
        assert_eq!(
            mount_of(Path::new("/proc/self")).unwrap().unwrap().kind,
            "proc"
        );
        assert!(
            mounts_below(Path::new("/proc"))
                .unwrap()
                .contains(&"/proc".into())
        );
    }
}
