//! Reading a directory tree's names and attributes, with all cores.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use parking_lot::{Condvar, Mutex};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use super::exclude::Exclude;
use super::file_stamp::{meta_of, stamp_of};
use super::reading::{Mark, Reading, Skipped};
use super::tree::{FileContent, FileNode, FileTree, NodeKind, Stamp};
use super::unstable_files::{self, VANISHED};
use super::xattrs;
use crate::error::{Error, Result};
use crate::layer::{Meta, Xattrs, mode};
use crate::path_limit::MAX_PATH;
use crate::progress::Progress;
use crate::resolve_beneath::open_beneath;

/// A scanned tree.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// The tree; the content of its files is unread.
    pub tree: FileTree,
    /// Where the lower part of a directory really is, by node.
    pub redirects: HashMap<usize, Vec<u8>>,
    /// Entries that were left out.
    pub skipped: Vec<Skipped>,
}

impl Scanned {
    /// Fails if entries were removed or renamed during the scan: the tree may lack a renamed entry
    /// under both names.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] with the first of these entries.
    pub(super) fn refuse_vanished(&self) -> Result<()> {
        match self.skipped.iter().find(|entry| entry.what == VANISHED) {
            None => Ok(()),
            Some(entry) => Err(Error::Changed {
                path: entry.path.clone(),
            }),
        }
    }
}

struct RawEntry {
    name: Box<[u8]>,
    stat: Stat,
    mark: Mark,
    target: Option<Box<[u8]>>,
    meta: Meta,
    directory: Option<usize>,
}

impl RawEntry {
    fn is_directory(&self) -> bool {
        self.stat.st_mode & mode::TYPE == mode::DIRECTORY && self.mark != Mark::Whiteout
    }
}

/// A directory that was read.
struct ScannedDirectory {
    xattrs: Xattrs,
    /// Sorted by name.
    entries: Vec<RawEntry>,
    /// Entries that were gone when they were looked at.
    vanished: Vec<PathBuf>,
}

/// Directories still to be read, and how many are being read.
struct ScanQueue {
    pending: Vec<(usize, PathBuf)>,
    active: usize,
    listed: Vec<Option<ScannedDirectory>>,
    failed: Option<Error>,
}

/// Scans all entries below `root` that are not excluded.
///
/// # Errors
///
/// [`Error::PathTooLong`] if a path is longer than [`MAX_PATH`], and errors of reading.
pub(super) fn scan_tree(
    root: BorrowedFd<'_>,
    reading: &dyn Reading,
    exclude: &dyn Exclude,
    progress: &dyn Progress,
) -> Result<Scanned> {
    let queue = Mutex::new(ScanQueue {
        pending: vec![(0, PathBuf::new())],
        active: 0,
        listed: vec![None],
        failed: None,
    });
    let changed = Condvar::new();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| scan_directories(root, (reading, exclude), progress, &queue, &changed));
        }
    });
    let queue = queue.into_inner();
    if let Some(error) = queue.failed {
        return Err(error);
    }
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    let stat = rustix::fs::fstat(root).map_err(|e| Error::io("read", ".")(e.into()))?;
    Ok(assemble_tree(queue.listed, meta_of(&stat), stamp_of(&stat)))
}

/// Scans like [`scan_tree`], and again if entries were added, removed or renamed meanwhile: a file that is
/// renamed into a directory that was listed before would be in neither place.
///
/// A job that never stops adding files gets the last scan.
pub(super) fn scan_settled(
    root: BorrowedFd<'_>,
    reading: &dyn Reading,
    exclude: &dyn Exclude,
    progress: &dyn Progress,
) -> Result<Scanned> {
    let mut scanned = scan_tree(root, reading, exclude, progress)?;
    for pause in unstable_files::PAUSES {
        let is_directory = |node: &FileNode| matches!(node.kind, NodeKind::Directory { .. });
        match confirm(root, &scanned.tree, is_directory) {
            Err(Error::Changed { .. }) => {}
            confirmed => return confirmed.map(|()| scanned),
        }
        std::thread::sleep(pause);
        scanned = scan_tree(root, reading, exclude, progress)?;
    }
    Ok(scanned)
}

fn scan_directories(
    root: BorrowedFd<'_>,
    how: (&dyn Reading, &dyn Exclude),
    progress: &dyn Progress,
    queue: &Mutex<ScanQueue>,
    changed: &Condvar,
) {
    loop {
        let mut state = queue.lock();
        let (number, path) = loop {
            if state.failed.is_some() || progress.cancelled() {
                changed.notify_all();
                return;
            }
            if let Some(job) = state.pending.pop() {
                break job;
            }
            if state.active == 0 {
                changed.notify_all();
                return;
            }
            changed.wait(&mut state);
        };
        state.active += 1;
        drop(state);
        let listed = list_directory(root, &path, how);
        let mut state = queue.lock();
        state.active -= 1;
        let before = state.pending.len();
        match listed {
            Ok(mut directory) => {
                for entry in &mut directory.entries {
                    if entry.is_directory() {
                        let number = state.listed.len();
                        state.listed.push(None);
                        entry.directory = Some(number);
                        state
                            .pending
                            .push((number, path.join(OsStr::from_bytes(&entry.name))));
                    }
                }
                state.listed[number] = Some(directory);
            }
            // The directory was removed or renamed after its parent was listed; `assemble` notes it.
            Err(Error::Changed { .. }) if number != 0 => {}
            Err(error) => state.failed = Some(error),
        }
        // One of the new directories is this thread's own.
        let is_over = state.failed.is_some() || (state.active == 0 && state.pending.is_empty());
        if is_over || state.pending.len() > before + 1 {
            changed.notify_all();
        }
    }
}

/// Reads one directory.
fn list_directory(
    root: BorrowedFd<'_>,
    path: &std::path::Path,
    (reading, exclude): (&dyn Reading, &dyn Exclude),
) -> Result<ScannedDirectory> {
    let shown = if path.as_os_str().is_empty() {
        std::path::Path::new(".")
    } else {
        path
    };
    let directory = open_beneath(
        root,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW,
        Mode::empty(),
    )
    .map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Error::Changed {
            path: shown.to_owned(),
        },
        errno => Error::io("open directory", shown)(errno.into()),
    })?;
    let mut buffer = Vec::with_capacity(64 << 10);
    let mut names = RawDir::new(&directory, buffer.spare_capacity_mut());
    let mut entries = Vec::new();
    let mut vanished = Vec::new();
    while let Some(entry) = names.next() {
        let entry = entry.map_err(|e| Error::io("read directory", shown)(e.into()))?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let at = || path.join(OsStr::from_bytes(name.to_bytes()));
        if path.as_os_str().len() + 1 + name.to_bytes().len() > MAX_PATH {
            // Without the mounted contents, the cache would be incomplete; with them, it could not
            // be copied.
            match exclude.excludes(&at(), entry.file_type() == FileType::Directory) {
                true => continue,
                false => {
                    let directory = path.to_owned();
                    return Err(Error::PathTooLong { directory });
                }
            }
        }
        match read_entry(&directory, name, reading) {
            Ok(entry) if exclude.excludes(&at(), entry.is_directory()) => {}
            Ok(entry) => entries.push(entry),
            // It was removed or renamed. The new name is perhaps not in this listing.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => vanished.push(at()),
            Err(error) => return Err(Error::io("read", at())(error)),
        }
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let xattrs = xattrs::of_fd(directory.as_fd(), reading)
        .map_err(Error::io("read attributes of", shown))?;
    Ok(ScannedDirectory {
        xattrs,
        entries,
        vanished,
    })
}

fn read_entry(
    directory: &OwnedFd,
    name: &CStr,
    reading: &dyn Reading,
) -> std::io::Result<RawEntry> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = stat.st_mode & mode::TYPE;
    let mark = reading.mark(directory.as_fd(), name, &stat)?;
    let mut meta = meta_of(&stat);
    let mut target = None;
    if mark != Mark::Whiteout {
        if kind == mode::SYMLINK {
            target = Some(
                rustix::fs::readlinkat(directory, name, Vec::new())?
                    .into_bytes()
                    .into(),
            );
        }
        // Files and directories give their attributes when they are opened for reading.
        if !matches!(kind, mode::FILE | mode::DIRECTORY) {
            meta.xattrs = xattrs::of_entry(directory.as_fd(), name, reading)?;
        }
    }
    Ok(RawEntry {
        name: name.to_bytes().into(),
        stat,
        mark,
        target,
        meta,
        directory: None,
    })
}

/// Puts the directories together, depth first, and finds the hard links.
fn assemble_tree(mut listed: Vec<Option<ScannedDirectory>>, root: Meta, stamp: Stamp) -> Scanned {
    let mut scanned = Scanned::default();
    let directory = NodeKind::Directory {
        children: Vec::new(),
        opaque: false,
    };
    scanned.tree.nodes.push(FileNode {
        name: Box::default(),
        parent: 0,
        meta: root,
        kind: directory,
        stamp,
        sparse: false,
        link: None,
        links: 1,
    });
    let mut first_names: HashMap<(u64, u64), usize> = HashMap::new();
    let mut pending = vec![(0, 0)];
    while let Some((node, number)) = pending.pop() {
        let Some(directory) = listed[number].take() else {
            continue;
        };
        let ScannedDirectory {
            xattrs,
            entries,
            vanished,
        } = directory;
        let gone = vanished.into_iter().map(|path| Skipped {
            path,
            what: VANISHED,
        });
        scanned.skipped.extend(gone);
        scanned.tree.nodes[node].meta.xattrs = xattrs;
        let mut children = Vec::new();
        let mut directories = Vec::new();
        for entry in entries {
            if entry
                .directory
                .is_some_and(|number| listed[number].is_none())
            {
                let path = scanned.tree.os_path(node);
                let path = path.join(OsStr::from_bytes(&entry.name));
                scanned.skipped.push(Skipped {
                    path: path.strip_prefix(".").map(PathBuf::from).unwrap_or(path),
                    what: VANISHED,
                });
                continue;
            }
            let index = scanned.tree.nodes.len();
            if entry.stat.st_mode & mode::TYPE == mode::SOCKET && entry.mark == Mark::Plain {
                let path = scanned
                    .tree
                    .os_path(node)
                    .join(OsStr::from_bytes(&entry.name));
                let path = path.strip_prefix(".").map(PathBuf::from).unwrap_or(path);
                scanned.skipped.push(Skipped {
                    path,
                    what: "socket",
                });
                continue;
            }
            if let Some(number) = entry.directory {
                directories.push((index, number));
            }
            if let Mark::Directory {
                redirect: Some(path),
                ..
            } = &entry.mark
            {
                scanned.redirects.insert(index, path.clone());
            }
            let mut new = into_node(entry, node);
            if new.1 > 1
                && matches!(
                    new.0.kind,
                    NodeKind::File { .. } | NodeKind::Special(_) | NodeKind::Symlink(_)
                )
            {
                let inode = (new.0.stamp.device, new.0.stamp.inode);
                match first_names.get(&inode) {
                    Some(first) => {
                        scanned.tree.nodes[*first].links += 1;
                        new.0.link = Some(*first);
                    }
                    None => {
                        first_names.insert(inode, index);
                    }
                }
            }
            scanned.tree.nodes.push(new.0);
            children.push(index);
        }
        if let NodeKind::Directory { children: slot, .. } = &mut scanned.tree.nodes[node].kind {
            *slot = children;
        }
        pending.extend(directories.into_iter().rev());
    }
    scanned
}

/// The node, and the number of names its inode has anywhere.
fn into_node(entry: RawEntry, parent: usize) -> (FileNode, u64) {
    let stat = &entry.stat;
    let kind = match (&entry.mark, stat.st_mode & mode::TYPE) {
        (Mark::Whiteout, _) => NodeKind::Whiteout,
        (mark, mode::DIRECTORY) => NodeKind::Directory {
            children: Vec::new(),
            opaque: matches!(mark, Mark::Directory { opaque: true, .. }),
        },
        (_, mode::FILE) => NodeKind::File {
            size: stat.st_size as u64,
            content: FileContent::Unread,
        },
        (_, mode::SYMLINK) => NodeKind::Symlink(entry.target.unwrap_or_default()),
        (_, mode::CHARACTER | mode::BLOCK) => NodeKind::Special(stat.st_rdev),
        _ => NodeKind::Special(0),
    };
    let node = FileNode {
        name: entry.name,
        parent,
        meta: entry.meta,
        kind,
        stamp: stamp_of(stat),
        sparse: (stat.st_blocks as u64) * 512 < stat.st_size as u64,
        link: None,
        links: 1,
    };
    (node, stat.st_nlink)
}

/// Looks at everything in the tree again; fails with [`Error::Changed`] when something was written
/// to, added or removed since it was scanned.
pub(super) fn confirm_unchanged(root: BorrowedFd<'_>, tree: &FileTree) -> Result<()> {
    confirm(root, tree, |_| true)
}

/// Does the work of [`confirm_unchanged`] for some of the nodes.
fn confirm(
    root: BorrowedFd<'_>,
    tree: &FileTree,
    is_checked: impl Fn(&FileNode) -> bool,
) -> Result<()> {
    for (index, node) in tree.nodes.iter().enumerate() {
        if node.stamp == Stamp::default() || !is_checked(node) {
            continue;
        }
        let path = tree.os_path(index);
        let stat = open_beneath(root, &path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
            .and_then(|fd| rustix::fs::fstat(&fd));
        match stat {
            Ok(stat) if stamp_of(&stat) == node.stamp => {}
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                return Err(Error::Changed { path });
            }
            Err(errno) => return Err(Error::io("read", path)(errno.into())),
        }
    }
    Ok(())
}
