//! Lists every difference between two trees.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::xattr;

/// Options of a comparison.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// Ignore the modification times of directories.
    pub ignore_dir_mtimes: bool,
    /// Report a file that allocates over 64 KiB more on the right than on the left, for example a
    /// sparse file that lost its holes.
    pub check_allocation: bool,
    /// Paths to skip with everything below them, relative to the roots.
    pub ignore: Vec<PathBuf>,
    /// Stop after this many differences.
    pub limit: usize,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            ignore_dir_mtimes: false,
            check_allocation: false,
            ignore: Vec::new(),
            limit: 50,
        }
    }
}

/// A difference between the two sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path relative to the roots; empty for the roots themselves.
    pub path: PathBuf,
    /// Description in the form "left value, right value".
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quoted: names may contain line breaks and invalid UTF-8.
        write!(f, "{:?}: {}", self.path, self.what)
    }
}

/// Allocation that a filesystem may add to a file without holes, in 512-byte blocks.
const ALLOCATION_SLACK: u64 = 128;

/// Compares two trees: names, kinds, modes, owners, modification times in nanoseconds, sizes,
/// contents, link targets, hard link groups, extended attributes and device numbers.
///
/// # Errors
///
/// If an entry cannot be read; the error names its path.
pub fn compare(left: &Path, right: &Path, options: &CompareOptions) -> io::Result<Vec<Difference>> {
    let mut comparison = Comparison {
        left,
        right,
        options,
        differences: Vec::new(),
        left_inodes: HashMap::new(),
        right_inodes: HashMap::new(),
        left_buffer: vec![0; 128 * 1024],
        right_buffer: vec![0; 128 * 1024],
    };
    comparison.run()?;
    comparison.differences.truncate(options.limit);
    Ok(comparison.differences)
}

/// Asserts that two trees are equal.
///
/// # Panics
///
/// If the trees differ, with a list of differences, or cannot be read.
#[track_caller]
pub fn assert_same(left: &Path, right: &Path, options: &CompareOptions) {
    match compare(left, right, options) {
        Ok(differences) if differences.is_empty() => {}
        Ok(differences) => {
            let lines: Vec<String> = differences.iter().map(|d| format!("  {d}")).collect();
            panic!(
                "{left:?} and {right:?} differ (left, right):\n{}",
                lines.join("\n")
            );
        }
        Err(error) => panic!("cannot compare {left:?} with {right:?}: {error}"),
    }
}

struct Comparison<'a> {
    left: &'a Path,
    right: &'a Path,
    options: &'a CompareOptions,
    differences: Vec<Difference>,
    /// The first path seen for each inode of a side.
    left_inodes: HashMap<(u64, u64), PathBuf>,
    right_inodes: HashMap<(u64, u64), PathBuf>,
    left_buffer: Vec<u8>,
    right_buffer: Vec<u8>,
}

impl Comparison<'_> {
    fn run(&mut self) -> io::Result<()> {
        let root = PathBuf::new();
        self.entry(&root)?;
        let mut pending = vec![root];
        while let Some(dir) = pending.pop() {
            let left = names(&self.left.join(&dir))?;
            let right = names(&self.right.join(&dir))?;
            for (name, side) in merge(left, right) {
                if self.differences.len() >= self.options.limit {
                    return Ok(());
                }
                let path = dir.join(name);
                if self.options.ignore.contains(&path) {
                    continue;
                }
                match side {
                    Side::Left => self.note(&path, "only on the left"),
                    Side::Right => self.note(&path, "only on the right"),
                    Side::Both => {
                        if self.entry(&path)? {
                            pending.push(path);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, path: &Path, what: impl Into<String>) {
        self.differences.push(Difference {
            path: path.to_owned(),
            what: what.into(),
        });
    }

    fn check<T: PartialEq + fmt::Debug>(&mut self, path: &Path, what: &str, left: T, right: T) {
        if left != right {
            self.note(path, format!("{what} {left:?}, {right:?}"));
        }
    }

    /// Compares an entry that exists on both sides. Returns whether to descend into it.
    fn entry(&mut self, path: &Path) -> io::Result<bool> {
        let (left_path, right_path) = (self.left.join(path), self.right.join(path));
        let left = at(&left_path, fs::symlink_metadata(&left_path))?;
        let right = at(&right_path, fs::symlink_metadata(&right_path))?;
        let kind = left.file_type();
        if kind != right.file_type() {
            self.note(path, format!("{}, {}", describe(&left), describe(&right)));
            return Ok(false);
        }
        self.check(
            path,
            "mode",
            Octal(left.mode() & 0o7777),
            Octal(right.mode() & 0o7777),
        );
        self.check(path, "uid", left.uid(), right.uid());
        self.check(path, "gid", left.gid(), right.gid());
        if !(kind.is_dir() && self.options.ignore_dir_mtimes) {
            let times = |meta: &Metadata| (meta.mtime(), meta.mtime_nsec());
            self.check(path, "mtime", times(&left), times(&right));
        }
        let attributes = at(&left_path, xattr::all(&left_path).map_err(Into::into))?;
        let others = at(&right_path, xattr::all(&right_path).map_err(Into::into))?;
        self.check(path, "xattrs", attributes, others);

        if kind.is_dir() {
            return Ok(true);
        }
        self.check_links(path, &left, &right);
        if kind.is_symlink() {
            let left = at(&left_path, fs::read_link(&left_path))?;
            let right = at(&right_path, fs::read_link(&right_path))?;
            self.check(path, "target", left, right);
        } else if kind.is_file() {
            self.check(path, "size", left.len(), right.len());
            if left.len() == right.len() {
                self.check_content(path, &left_path, &right_path)?;
            }
            if self.options.check_allocation && right.blocks() > left.blocks() + ALLOCATION_SLACK {
                self.note(
                    path,
                    format!("blocks {}, {}", left.blocks(), right.blocks()),
                );
            }
        } else {
            self.check(path, "device number", left.rdev(), right.rdev());
        }
        Ok(false)
    }

    /// Checks hard link groups: both sides must have seen the inode first at the same path.
    fn check_links(&mut self, path: &Path, left: &Metadata, right: &Metadata) {
        let first = |map: &mut HashMap<(u64, u64), PathBuf>, meta: &Metadata| {
            map.entry((meta.dev(), meta.ino()))
                .or_insert_with(|| path.to_owned())
                .clone()
        };
        let left = first(&mut self.left_inodes, left);
        let right = first(&mut self.right_inodes, right);
        if left != right {
            let name = |first: PathBuf| {
                if first == path {
                    "a file of its own".into()
                } else {
                    format!("link to {first:?}")
                }
            };
            self.note(path, format!("{}, {}", name(left), name(right)));
        }
    }

    fn check_content(&mut self, path: &Path, left: &Path, right: &Path) -> io::Result<()> {
        let mut left_file = at(left, File::open(left))?;
        let mut right_file = at(right, File::open(right))?;
        let mut offset = 0;
        loop {
            let len = at(left, fill(&mut left_file, &mut self.left_buffer))?;
            let other = at(right, fill(&mut right_file, &mut self.right_buffer))?;
            if self.left_buffer[..len] != self.right_buffer[..other] {
                let same = std::iter::zip(&self.left_buffer[..len], &self.right_buffer[..other])
                    .take_while(|(a, b)| a == b)
                    .count();
                self.note(
                    path,
                    format!("contents differ from byte {}", offset + same as u64),
                );
                return Ok(());
            }
            if len == 0 {
                return Ok(());
            }
            offset += len as u64;
        }
    }
}

/// A mode that is formatted in octal.
#[derive(PartialEq)]
struct Octal(u32);

impl fmt::Debug for Octal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// The side that has a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Left,
    Right,
    Both,
}

/// The names in a directory, sorted.
fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    let entries = at(dir, fs::read_dir(dir))?;
    let mut names = entries
        .map(|entry| Ok(at(dir, entry)?.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// Merges two sorted lists of names.
///
/// If a faulty directory lists a name twice, the second one counts as present on that side only.
fn merge(left: Vec<OsString>, right: Vec<OsString>) -> Vec<(OsString, Side)> {
    let mut merged = Vec::with_capacity(left.len().max(right.len()));
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) => a.cmp(b),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return merged,
        };
        let (name, side) = match order {
            std::cmp::Ordering::Less => (left.next(), Side::Left),
            std::cmp::Ordering::Greater => (right.next(), Side::Right),
            std::cmp::Ordering::Equal => {
                right.next();
                (left.next(), Side::Both)
            }
        };
        merged.extend(name.map(|name| (name, side)));
    }
}

/// Reads until the buffer is full or the file ends, so that short reads are not differences.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

fn describe(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_file() {
        "file"
    } else if kind.is_dir() {
        "directory"
    } else if kind.is_symlink() {
        "symbolic link"
    } else if kind.is_fifo() {
        "fifo"
    } else if kind.is_char_device() {
        "character device"
    } else if kind.is_block_device() {
        "block device"
    } else {
        "socket"
    }
}

/// Adds the path to an error.
fn at<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{path:?}: {error}")))
}
