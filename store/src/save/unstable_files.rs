//! Files that change while they are saved.
//!
//! A cache often has one file that something keeps writing to, such as the log of a build daemon.
//! That file must not fail the save of all others, and must not be stored as a mixture of two
//! states either. So a file that changed while it was read is read again. One that never holds
//! still is read in any case, and then read a second time: if both reads give the same bytes, the
//! file had this content at the moment between them. For a file that only grows this holds for the
//! part that was there when it was looked at.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::file_stamp::{meta_of, stamp_of};
use super::reading::{Reading, Skipped};
use super::tree::{FileContent, FileTree, NodeKind, Stamp};
use crate::error::{Error, Result};
use crate::id::ChunkId;
use crate::layer::mode;
use crate::resolve_beneath::open_beneath;

/// The pauses before a changed file is read again. The last read accepts a file that changes
/// meanwhile if [`is_same`] confirms it.
pub(super) const PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(100),
];

/// Why an entry is not in the cache.
pub(super) const VANISHED: &str = "it was removed during the save";
/// The same, for a file without two equal reads.
pub(super) const UNSTABLE: &str = "it kept changing during the save";

/// Stats changed files again, so that their present content can be read. Files that are gone, or
/// are no regular files any more, are removed from the tree and returned. If the tree has lower
/// layers, a removal takes their place; otherwise a restore would show the file of the layer below.
///
/// Also returns the files to read, including other names of the inode of a replaced file.
pub(super) fn look_again(
    root: BorrowedFd<'_>,
    tree: &mut FileTree,
    reading: &dyn Reading,
    changed: &[usize],
) -> Result<(Vec<usize>, Vec<Skipped>)> {
    let mut pending = changed.to_vec();
    let mut unread = Vec::new();
    let mut gone = Vec::new();
    while let Some(node) = pending.pop() {
        let path = tree.os_path(node);
        let stat = open_beneath(root, &path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
            .and_then(|file| rustix::fs::fstat(&file));
        let stat = match stat {
            Ok(stat) => Some(stat).filter(|stat| stat.st_mode & mode::TYPE == mode::FILE),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
            Err(errno) => return Err(Error::io("read", path)(errno.into())),
        };
        let before = tree.nodes[node].stamp;
        let is_other = |stamp: Stamp| (stamp.device, stamp.inode) != (before.device, before.inode);
        if stat.as_ref().is_none_or(|stat| is_other(stamp_of(stat))) {
            pending.extend(part_names(tree, node));
        }
        let Some(stat) = stat else {
            if reading.has_lower_layers() {
                let known = &mut tree.nodes[node];
                (known.kind, known.link, known.links) = (NodeKind::Whiteout, None, 1);
            } else {
                remove_node(tree, node);
            }
            gone.push(Skipped {
                path,
                what: VANISHED,
            });
            continue;
        };
        let known = &mut tree.nodes[node];
        known.stamp = stamp_of(&stat);
        known.sparse = (stat.st_blocks as u64) * 512 < known.stamp.size;
        // Owners stay as they were scanned: a restore with another owner maps them.
        let meta = meta_of(&stat);
        (known.meta.mode, known.meta.mtime) = (meta.mode, meta.mtime);
        known.kind = NodeKind::File {
            size: known.stamp.size,
            content: FileContent::Unread,
        };
        unread.push(node);
    }
    unread.sort_unstable();
    Ok((unread, gone))
}

/// Makes the second name of a file, if there is one, the first: `node` no longer leads to its inode.
/// Returns the name that is to be read now.
fn part_names(tree: &mut FileTree, node: usize) -> Option<usize> {
    // Most files have one name, and looking for others takes a pass over the tree.
    if tree.nodes[node].links <= 1 {
        return None;
    }
    let names: Vec<_> = (0..tree.nodes.len())
        .filter(|&name| tree.nodes[name].link == Some(node))
        .collect();
    tree.nodes[node].links = 1;
    let (&first, others) = names.split_first()?;
    tree.nodes[first].link = None;
    tree.nodes[first].links = names.len() as u32;
    for &name in others {
        tree.nodes[name].link = Some(first);
    }
    Some(first)
}

fn remove_node(tree: &mut FileTree, node: usize) {
    let parent = tree.nodes[node].parent;
    if let NodeKind::Directory { children, .. } = &mut tree.nodes[parent].kind {
        children.retain(|&child| child != node);
    }
}

/// Whether a file that was read still has the content that was found, at least at its front.
pub(super) fn is_same(root: BorrowedFd<'_>, tree: &FileTree, node: usize) -> bool {
    let NodeKind::File {
        content: FileContent::Read(pieces),
        ..
    } = &tree.nodes[node].kind
    else {
        return false;
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let Ok(file) = open_beneath(root, &tree.os_path(node), flags, Mode::empty()) else {
        return false;
    };
    let stamp = tree.nodes[node].stamp;
    let is_inode = rustix::fs::fstat(&file)
        .is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (stamp.device, stamp.inode));
    let mut buffer = Vec::new();
    let mut offset = 0;
    is_inode
        && pieces.iter().all(|(id, length)| {
            let from = offset;
            offset += length;
            match id {
                Some(id) => {
                    read_at(&file, &mut buffer, from, *length) && ChunkId::of(&buffer) == *id
                }
                None => is_hole(&file, from..from + length),
            }
        })
}

fn is_hole(file: &OwnedFd, range: std::ops::Range<u64>) -> bool {
    let data = super::batch::next_data(file, range.start, range.end);
    data.is_ok_and(|data| data.start == range.end)
}

fn read_at(file: &OwnedFd, buffer: &mut Vec<u8>, offset: u64, length: u64) -> bool {
    buffer.resize(length as usize, 0);
    let mut done = 0;
    while done < buffer.len() {
        match rustix::io::pread(file.as_fd(), &mut buffer[done..], offset + done as u64) {
            Ok(0) => return false,
            Ok(read) => done += read,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}
