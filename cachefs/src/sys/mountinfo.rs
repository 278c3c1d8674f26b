//! The mounts of this namespace, from `/proc/self/mountinfo`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::fuse_mount::FUSE_TYPE;

/// The source that the mount table shows for our overlays.
pub const OVERLAY_SOURCE: &str = "cachefs";

/// The filesystem type that `/proc/self/mountinfo` shows for overlays.
pub const OVERLAY_TYPE: &str = "overlay";

/// One line of the mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// The mount's number, unique while it exists.
    pub id: u64,
    /// The number of the mount that it is mounted on.
    pub parent: u64,
    /// Major and minor number of the mounted filesystem's device.
    pub device: (u32, u32),
    /// Which directory of the filesystem is visible; `/` unless bound.
    pub root: PathBuf,
    /// Where it is mounted, relative to the process's root.
    pub mount_point: PathBuf,
    /// The filesystem type, with its subtype.
    pub fs_type: OsString,
    /// The source given when it was mounted.
    pub source: OsString,
    /// Whether this mount refuses writes.
    pub read_only: bool,
    /// The peer group with which this mount exchanges mount events.
    pub shared: Option<u64>,
    /// The peer group from which this mount receives events, without sending any.
    pub master: Option<u64>,
    /// The filesystem's options, undecoded: an escaped comma must not split a value.
    options: Vec<u8>,
}

impl MountEntry {
    /// Whether this is the FUSE view of a cache.
    pub fn is_cachefs_view(&self) -> bool {
        self.fs_type == FUSE_TYPE
    }

    /// Whether this is an overlay that cachefs mounted.
    pub fn is_cachefs_overlay(&self) -> bool {
        self.fs_type == OVERLAY_TYPE && self.source == OVERLAY_SOURCE
    }

    /// Returns the decoded value of a `key=value` option of the filesystem, the first if repeated.
    pub fn super_option(&self, key: &str) -> Option<OsString> {
        self.super_options(key).next()
    }

    /// Returns all decoded values of a repeated option, such as an overlay's `lowerdir+`.
    pub fn super_options(&self, key: &str) -> impl Iterator<Item = OsString> {
        self.options
            .split(|&byte| byte == b',')
            .filter_map(move |option| {
                let value = option.strip_prefix(key.as_bytes())?.strip_prefix(b"=")?;
                Some(unescape_octal(value))
            })
    }
}

/// The mount table at one moment.
#[derive(Debug, Clone, Default)]
pub struct MountTable {
    entries: Vec<MountEntry>,
}

impl MountTable {
    /// Reads the table of the calling thread's namespace (a thread may have one of its own).
    ///
    /// # Errors
    /// When `/proc` is not mounted, or a line cannot be understood ([`io::ErrorKind::InvalidData`]).
    pub fn read() -> io::Result<Self> {
        Self::parse(&std::fs::read("/proc/thread-self/mountinfo")?)
    }

    /// Parses the text of a `mountinfo` file.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for a line that is not one of `mountinfo`.
    pub fn parse(text: &[u8]) -> io::Result<Self> {
        let lines = text
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty());
        let entries = lines
            .map(|line| {
                parse_line(line).ok_or_else(|| {
                    let shown = String::from_utf8_lossy(line);
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("not a mountinfo line: {shown}"),
                    )
                })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { entries })
    }

    /// All mounts, in the kernel's order.
    pub fn entries(&self) -> &[MountEntry] {
        &self.entries
    }

    /// The mounts that cachefs made: FUSE views and overlays.
    pub fn ours(&self) -> impl Iterator<Item = &MountEntry> {
        self.entries
            .iter()
            .filter(|entry| entry.is_cachefs_view() || entry.is_cachefs_overlay())
    }

    /// The mount that a path lookup of `mount_point` ends in, if something is mounted exactly there.
    ///
    /// The path must be absolute and free of symbolic links. `Path::canonicalize` makes it so, and
    /// asks nothing of the mount at the path's end, be its server dead or hung.
    pub fn topmost_at(&self, mount_point: &Path) -> Option<&MountEntry> {
        self.covering(mount_point)
            .filter(|entry| entry.mount_point == mount_point)
    }

    /// The mount that a path lies on; the path must be as for [`MountTable::topmost_at`].
    ///
    /// This follows a path lookup from mount to mount, because a mount at a parent directory hides
    /// all mounts below it that were there before.
    pub fn covering(&self, path: &Path) -> Option<&MountEntry> {
        let mut mount = self.next_on(path, |entry| self.is_top(entry))?;
        while let Some(next) = self.next_on(path, |entry| {
            entry.parent == mount.id && entry.id != mount.id
        }) {
            mount = next;
        }
        Some(mount)
    }

    /// The mount that a lookup of a path comes to first, of some.
    fn next_on(&self, path: &Path, of: impl Fn(&MountEntry) -> bool) -> Option<&MountEntry> {
        let entries = self.entries.iter();
        entries
            // Of equally near ones the last, as it was mounted last.
            .rev()
            .filter(|entry| path.starts_with(&entry.mount_point) && of(entry))
            .min_by_key(|entry| entry.mount_point.components().count())
    }

    /// Whether the mount that a mount lies on is not in this table.
    fn is_top(&self, entry: &MountEntry) -> bool {
        entry.parent == entry.id || !self.entries.iter().any(|other| other.id == entry.parent)
    }

    /// The mount that hides a cache at a path: a later mount at a parent directory, or at the path
    /// itself. `None` if no cache is mounted there, or if it is visible.
    pub fn hiding(&self, path: &Path) -> Option<&MountEntry> {
        let is_cache = |entry: &MountEntry| entry.mount_point == path && entry.is_cachefs_overlay();
        let is_there = self.entries.iter().any(is_cache);
        self.covering(path)
            .filter(|seen| is_there && !is_cache(seen))
    }

    /// All mounts at exactly this path, the topmost first.
    pub fn stack_at(&self, mount_point: &Path) -> Vec<&MountEntry> {
        let mut stack = Vec::new();
        let mut next = self.topmost_at(mount_point);
        while let Some(entry) = next {
            stack.push(entry);
            next = self.entries.iter().find(|below| {
                below.id == entry.parent && below.id != entry.id && below.mount_point == mount_point
            });
        }
        stack
    }

    /// The mounts that sit directly on a mount, at or below its own mount point.
    pub fn children(&self, id: u64) -> impl Iterator<Item = &MountEntry> {
        self.entries
            .iter()
            .filter(move |entry| entry.parent == id && entry.id != id)
    }
}

/// Parses `36 35 98:0 /root /mnt rw,noatime shared:1 - ext3 /dev/root rw,errors=continue`.
fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = parse_number(fields.next()?)?;
    let parent = parse_number(fields.next()?)?;
    let mut device = fields.next()?.split(|&byte| byte == b':');
    let device = (
        parse_number(device.next()?)? as u32,
        parse_number(device.next()?)? as u32,
    );
    let root = unescape_octal(fields.next()?).into();
    let mount_point = unescape_octal(fields.next()?).into();
    let read_only = fields
        .next()?
        .split(|&byte| byte == b',')
        .any(|option| option == b"ro");
    let (mut shared, mut master) = (None, None);
    loop {
        match fields.next()? {
            b"-" => break,
            field => {
                let group = |name: &[u8]| field.strip_prefix(name).and_then(parse_number);
                shared = shared.or(group(b"shared:"));
                master = master.or(group(b"master:"));
            }
        }
    }
    let fs_type = unescape_octal(fields.next()?);
    // Some filesystems show an empty source: two spaces in a row, and so an empty field.
    let source = unescape_octal(fields.next()?);
    let options = fields.next().unwrap_or_default().to_vec();
    Some(MountEntry {
        id,
        parent,
        device,
        root,
        mount_point,
        fs_type,
        source,
        read_only,
        shared,
        master,
        options,
    })
}

fn parse_number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Decodes the kernel's `\ooo` escapes.
fn unescape_octal(text: &[u8]) -> OsString {
    if !text.contains(&b'\\') {
        return OsStr::from_bytes(text).to_owned();
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match rest {
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] => {
                decoded.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
30 21 0:40 / /mnt/a\\040b\\012\xff rw,nosuid,nodev - fuse.cachefs cachefs ro,user_id=0\n\
31 21 0:41 / /m ro - overlay cachefs rw,lowerdir+=/x\\054y,lowerdir+=/z,upperdir=/u\\040v\n\
33 32 0:43 / /m rw master:3 propagate_from:2 - tmpfs  rw\n\
32 31 0:42 / /m rw - overlay other rw,lowerdir=/l\n";

    #[test]
    fn names_and_options_are_decoded() {
        let table = MountTable::parse(TABLE).unwrap();
        let view = &table.entries()[1];
        assert_eq!(view.mount_point.as_os_str().as_bytes(), b"/mnt/a b\n\xff");
        assert!(view.is_cachefs_view() && !view.read_only);
        let overlay = &table.entries()[2];
        assert!(overlay.is_cachefs_overlay() && overlay.read_only);
        let lowers: Vec<_> = overlay.super_options("lowerdir+").collect();
        assert_eq!(lowers, ["/x,y", "/z"]);
        assert_eq!(overlay.super_option("upperdir").unwrap(), "/u v");
        assert_eq!(
            table.ours().map(|entry| entry.id).collect::<Vec<_>>(),
            [30, 31]
        );
    }

    #[test]
    fn the_topmost_of_a_stack_is_found_whatever_the_order() {
        let table = MountTable::parse(TABLE).unwrap();
        assert_eq!(table.topmost_at(Path::new("/m")).unwrap().id, 33);
        let stack: Vec<_> = table
            .stack_at(Path::new("/m"))
            .iter()
            .map(|e| e.id)
            .collect();
        assert_eq!(stack, [33, 32, 31]);
        assert!(table.topmost_at(Path::new("/mnt")).is_none());
        let covering = |path: &str| table.covering(Path::new(path)).unwrap().id;
        assert_eq!((covering("/m/n/o"), covering("/mnt")), (33, 21));
        let groups = |number: usize| {
            (
                table.entries()[number].shared,
                table.entries()[number].master,
            )
        };
        assert_eq!((groups(0), groups(3)), ((Some(1), None), (None, Some(3))));
        assert_eq!(table.children(21).count(), 2);
    }

    #[test]
    fn a_mount_over_a_parent_directory_hides_what_is_below() {
        let table = b"\
21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
30 21 0:40 / /proj/nm rw - overlay cachefs rw\n\
31 21 0:41 / /proj rw - overlay cachefs rw\n\
32 21 0:42 / /other rw - overlay cachefs rw\n\
33 31 0:43 / /proj/tmp rw - overlay cachefs rw\n";
        let table = MountTable::parse(table).unwrap();
        let at = |path: &str| table.topmost_at(Path::new(path)).map(|mount| mount.id);
        assert_eq!(at("/proj/nm"), None);
        assert_eq!((at("/proj"), at("/proj/tmp")), (Some(31), Some(33)));
        assert_eq!(table.covering(Path::new("/proj/nm/x")).unwrap().id, 31);
        let hiding = |path: &str| table.hiding(Path::new(path)).map(|mount| mount.id);
        assert_eq!(hiding("/proj/nm"), Some(31));
        for path in ["/proj", "/proj/tmp", "/other", "/nothing"] {
            assert_eq!(hiding(path), None, "{path}");
        }
    }

    #[test]
    fn an_empty_source_keeps_the_fields_in_place() {
        let table = MountTable::parse(TABLE).unwrap();
        assert_eq!(table.entries()[3].source, "");
        assert_eq!(table.entries()[3].fs_type, "tmpfs");
    }

    #[test]
    fn a_damaged_line_is_an_error() {
        assert!(MountTable::parse(b"1 2 nonsense").is_err());
        assert!(MountTable::parse(b"1 2 0:1 / / rw shared:1 ext4 x rw").is_err());
    }
}
