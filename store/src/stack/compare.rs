//! Compares two stacks by their metadata.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{Attr, Ino, Stack};
use crate::error::{Error, Result};
use crate::id::{ChunkId, PackId};
use crate::layer::{ContentPiece, Meta, mode};
use crate::pack::{self, PackSet};
use crate::path_limit::MAX_PATH;
use crate::remote::DynRemote;
use crate::task::join_all;

/// Largest size of the paths of all differences in bytes.
const MAX_PATHS: usize = 256 << 20;

/// How an entry differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryChange {
    /// Only the later stack has it.
    Added,
    /// Only the earlier stack has it.
    Removed,
    /// Its kind, its content, or its link target differs.
    Modified,
    /// Its permissions, owner or extended attributes are others, its content is the same.
    Attributes,
    /// Only its time of modification is another.
    Times,
}

/// An entry that is not the same in both stacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryDifference {
    /// Path from the root, without a leading slash; empty for the root itself.
    pub path: Vec<u8>,
    /// How it differs.
    pub change: EntryChange,
    /// The former attributes, unless it was added.
    pub before: Option<Attr>,
    /// The present attributes, unless it was removed.
    pub after: Option<Attr>,
}

/// Lists the differences between two stacks of one remote, sorted by path.
///
/// Directories that both stacks take from the same layers are skipped. No content is read: files
/// whose bytes are in different places are compared by the names of their chunks, which are in the
/// trailers of their packs. Each trailer is fetched once.
pub async fn compare_stacks(
    remote: &DynRemote,
    before: &Stack,
    after: &Stack,
) -> Result<Vec<EntryDifference>> {
    let mut walk = StackComparison {
        before,
        after,
        found: Vec::new(),
        doubtful: Vec::new(),
        pending: Vec::new(),
        path_bytes: 0,
    };
    before.check_shares()?;
    after.check_shares()?;
    walk.directories(Ino::ROOT, Ino::ROOT)?;
    if let Some(change) = walk.attributes(Ino::ROOT, Ino::ROOT)? {
        let (old, new) = (before.attr(Ino::ROOT)?, after.attr(Ino::ROOT)?);
        walk.put(Vec::new(), change, Some(old), Some(new))?;
    }
    let StackComparison {
        mut found,
        doubtful,
        ..
    } = walk;
    settle_doubtful(remote, before, after, &mut found, doubtful).await?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Two files of equal size whose bytes are in different places.
struct Doubtful {
    path: Vec<u8>,
    before: Ino,
    after: Ino,
    /// The difference if the content is equal.
    otherwise: Option<EntryChange>,
}

struct StackComparison<'a> {
    before: &'a Stack,
    after: &'a Stack,
    found: Vec<EntryDifference>,
    doubtful: Vec<Doubtful>,
    /// Directories of both stacks that are still to be compared.
    pending: Vec<(Vec<u8>, Ino, Ino)>,
    /// Bytes of the paths of all that differs.
    path_bytes: usize,
}

/// The entries of a directory.
///
/// # Errors
///
/// [`Error::PathTooLong`]: a comparison without the entries below would be wrong.
fn visible_entries(stack: &Stack, path: &[u8], directory: Ino) -> Result<Vec<(Vec<u8>, Ino)>> {
    let mut entries = Vec::new();
    stack.list(directory, 0, |_, name, ino| {
        if path.len() + 1 + name.len() > MAX_PATH {
            let directory = PathBuf::from(OsStr::from_bytes(path));
            return Err(Error::PathTooLong { directory });
        }
        entries.push((name.to_vec(), ino));
        Ok(true)
    })?;
    Ok(entries)
}

fn join_path(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        name.to_vec()
    } else {
        [directory, b"/", name].concat()
    }
}

fn content_pieces(stack: &Stack, ino: Ino, size: u64) -> Result<Vec<ContentPiece>> {
    stack.pieces(ino, 0..size)?.collect()
}

impl StackComparison<'_> {
    fn put(
        &mut self,
        path: Vec<u8>,
        change: EntryChange,
        before: Option<Attr>,
        after: Option<Attr>,
    ) -> Result<()> {
        self.path_bytes += path.len();
        if self.path_bytes > MAX_PATHS {
            return Err(Error::TooLarge {
                what: "the list of differences",
                limit: format!("{} MiB of paths", MAX_PATHS >> 20),
            });
        }
        self.found.push(EntryDifference {
            path,
            change,
            before,
            after,
        });
        Ok(())
    }

    fn directories(&mut self, before: Ino, after: Ino) -> Result<()> {
        self.pending.push((Vec::new(), before, after));
        while let Some((path, before, after)) = self.pending.pop() {
            self.directory(&path, before, after)?;
        }
        Ok(())
    }

    fn directory(&mut self, path: &[u8], before: Ino, after: Ino) -> Result<()> {
        if self.before.origin(before)? == self.after.origin(after)? {
            return Ok(());
        }
        let old = visible_entries(self.before, path, before)?;
        let new = visible_entries(self.after, path, after)?;
        let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((a, _)), Some((b, _))) => a.cmp(b),
            };
            let was = old.next_if(|_| order.is_le());
            let is = new.next_if(|_| order.is_ge());
            match (was, is) {
                (Some((name, was)), Some((_, is))) => {
                    self.both(join_path(path, name), *was, *is)?
                }
                (Some((name, was)), None) => {
                    self.one(join_path(path, name), *was, EntryChange::Removed)?
                }
                (None, Some((name, is))) => {
                    self.one(join_path(path, name), *is, EntryChange::Added)?
                }
                (None, None) => return Ok(()),
            }
        }
    }

    /// An entry that only one stack has, with all below it.
    fn one(&mut self, path: Vec<u8>, ino: Ino, change: EntryChange) -> Result<()> {
        let stack = match change {
            EntryChange::Added => self.after,
            _ => self.before,
        };
        // Directories only: their entries need no path before they are reported.
        let mut pending = vec![(path, ino)];
        while let Some((path, ino)) = pending.pop() {
            let attr = stack.attr(ino)?;
            if attr.kind() == mode::DIRECTORY {
                for (name, child) in visible_entries(stack, &path, ino)? {
                    if stack.attr(child)?.kind() == mode::DIRECTORY {
                        pending.push((join_path(&path, &name), child));
                    } else {
                        self.put_one(join_path(&path, &name), change, stack.attr(child)?)?;
                    }
                }
            }
            self.put_one(path, change, attr)?;
        }
        Ok(())
    }

    fn put_one(&mut self, path: Vec<u8>, change: EntryChange, attr: Attr) -> Result<()> {
        match change {
            EntryChange::Added => self.put(path, change, None, Some(attr)),
            _ => self.put(path, change, Some(attr), None),
        }
    }

    fn both(&mut self, path: Vec<u8>, before: Ino, after: Ino) -> Result<()> {
        let (old, new) = (self.before.attr(before)?, self.after.attr(after)?);
        if old.kind() == mode::DIRECTORY && new.kind() == mode::DIRECTORY {
            if let Some(change) = self.attributes(before, after)? {
                self.put(path.clone(), change, Some(old), Some(new))?;
            }
            self.pending.push((path, before, after));
            return Ok(());
        }
        if old.kind() != new.kind() {
            // A directory that replaces another kind of entry, or is replaced by one, has entries
            // of its own.
            self.one(path.clone(), before, EntryChange::Removed)?;
            return self.one(path, after, EntryChange::Added);
        }
        if self.before.origin(before)? == self.after.origin(after)? {
            return Ok(());
        }
        let is_same = match old.kind() {
            mode::FILE if old.size == new.size => {
                let (was, is) = (
                    content_pieces(self.before, before, old.size)?,
                    content_pieces(self.after, after, new.size)?,
                );
                let in_place = was.len() == is.len()
                    && was.iter().zip(&is).all(|(was, is)| {
                        let place = |piece: &ContentPiece| {
                            let at = |at: crate::frame::ChunkLocation| (at.frame.hash, at.offset);
                            (piece.start, piece.end, piece.location.map(at))
                        };
                        place(was) == place(is)
                    });
                if !in_place {
                    let otherwise = self.attributes(before, after)?;
                    self.doubtful.push(Doubtful {
                        path,
                        before,
                        after,
                        otherwise,
                    });
                    return Ok(());
                }
                true
            }
            mode::FILE => false,
            mode::SYMLINK => {
                self.before.symlink_target(before)? == self.after.symlink_target(after)?
            }
            _ => old.rdev == new.rdev,
        };
        let change = match is_same {
            true => self.attributes(before, after)?,
            false => Some(EntryChange::Modified),
        };
        if let Some(change) = change {
            self.put(path, change, Some(old), Some(new))?;
        }
        Ok(())
    }

    fn attributes(&self, before: Ino, after: Ino) -> Result<Option<EntryChange>> {
        let (old, new) = (self.before.meta(before)?, self.after.meta(after)?);
        if old == new {
            return Ok(None);
        }
        let but_for_time = Meta {
            mtime: old.mtime,
            ..new
        };
        Ok(Some(match but_for_time == old {
            true => EntryChange::Times,
            false => EntryChange::Attributes,
        }))
    }
}

/// A chunk's place: its pack, the offset of its frame, and its offset in that.
type Place = (PackId, u32, u32);

/// Decides which of the doubtful files differ, by the names of their chunks.
async fn settle_doubtful(
    remote: &DynRemote,
    before: &Stack,
    after: &Stack,
    found: &mut Vec<EntryDifference>,
    doubtful: Vec<Doubtful>,
) -> Result<()> {
    let chunks = name_chunks(remote, before, after, &doubtful).await?;
    let names = |stack: &Stack, ino, size| -> Result<Vec<(u64, Option<Option<ChunkId>>)>> {
        let named = content_pieces(stack, ino, size)?.into_iter().map(|piece| {
            let name = piece.location.map(|at| {
                let place = (at.frame.pack, at.frame.offset, at.offset);
                chunks.get(&place).copied()
            });
            (piece.end, name)
        });
        Ok(named.collect())
    };
    for file in doubtful {
        let (old, new) = (before.attr(file.before)?, after.attr(file.after)?);
        let was = names(before, file.before, old.size)?;
        // A chunk without a name, because its pack's trailer lacks it, equals no other.
        let is_known = was.iter().all(|(_, name)| *name != Some(None));
        let is_same = is_known && was == names(after, file.after, new.size)?;
        let change = match is_same {
            true => file.otherwise,
            false => Some(EntryChange::Modified),
        };
        if let Some(change) = change {
            found.push(EntryDifference {
                path: file.path,
                change,
                before: Some(old),
                after: Some(new),
            });
        }
    }
    Ok(())
}

/// The names of the chunks that doubtful files are made of.
async fn name_chunks(
    remote: &DynRemote,
    before: &Stack,
    after: &Stack,
    doubtful: &[Doubtful],
) -> Result<HashMap<Place, ChunkId>> {
    let mut known = PackSet::default();
    for layer in before.layers().iter().chain(after.layers()) {
        known.extend(layer.packs()?);
    }
    let mut wanted = HashSet::new();
    for file in doubtful {
        for (stack, ino) in [(before, file.before), (after, file.after)] {
            let size = stack.attr(ino)?.size;
            let located = content_pieces(stack, ino, size)?;
            wanted.extend(
                located
                    .iter()
                    .filter_map(|piece| Some(piece.location?.frame.pack)),
            );
        }
    }
    let reads = wanted
        .iter()
        .filter_map(|pack| known.get(pack))
        .map(|pack| pack::read_trailer(remote.clone(), *pack));
    let mut chunks = HashMap::new();
    for read in join_all(reads).await {
        let (pack, trailer) = read?;
        let places = trailer
            .chunk_locations(&pack.id)
            .map(|(id, at)| ((pack.id, at.frame.offset, at.offset), id));
        chunks.extend(places);
    }
    Ok(chunks)
}
