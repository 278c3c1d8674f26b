//! The content that earlier saves found in the files of a directory, so that unchanged files are
//! not read again.
//!
//! A file counts as unchanged if its device, inode, size and both times (in nanoseconds) are the
//! same. This is only valid if no write can follow the read within the same clock tick. So files
//! whose times are not older than the scan by [`SETTLED`] are not listed, and the next save reads
//! them again. Like every program of this kind, we miss writes that leave the times unchanged:
//! through a shared mapping that was dirty before, or while the clock was set back.
//!
//! Files with extended attributes are not listed, because those are read from the open file.
//! Neither are files with a [finding](crate::secrets): every save decides about them and reports
//! them. So a save with the same search skips the files of a list under any policy; a save with
//! another search must read them.

mod format;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::pipeline::Packed;
use super::secret_guard::is_place_in;
use super::tree::{FileContent, FileNode, FileTree, NodeKind, Pieces, Stamp};
use crate::frame::{ChunkLocation, Codec, FrameLocation};
use crate::id::{ChunkId, DomainId, PackId, TrailerHash};
use crate::pack::PackRef;
use crate::replace_file::{Durability, replace_file};
use crate::secrets::Scanner;
use format::{HOLE, Pack, SeenFile, SeenFrame, SeenPiece, Tables};
use zerocopy::little_endian::{I64, U32, U64};

/// In a [`Pack`]: the hash of the trailer is not known.
const UNKNOWN: TrailerHash = TrailerHash([0; 32]);

/// How much older than the scan the times of a file must be. Filesystems have ticks of up to two
/// seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// A list of files that were read before, with their content and the location of their chunks.
#[derive(Debug)]
pub(super) struct Seen(Tables);

impl Seen {
    /// Reads a list that [`Seen::write`] wrote for `domain`; `None` if it is missing or damaged.
    pub(super) fn read(path: &Path, domain: &DomainId) -> Option<Self> {
        Tables::read(path, domain).map(Self)
    }

    /// Whether the files of the list were searched for all that `scanner` searches for.
    pub(super) fn is_searched_by(&self, scanner: &Scanner) -> bool {
        let wanted = scanner.fingerprint(&self.0.salt);
        wanted.is_none() || wanted == self.0.searched
    }

    /// Gives the files of `tree` that did not change their content. `root` is the path that is
    /// saved: files in places where secrets are kept are read again.
    ///
    /// Returns the chunks of these files and their packs. Whether the remote still has the packs is
    /// not known.
    pub(super) fn apply(&self, tree: &mut FileTree, root: &Path) -> Packed {
        let mut known = Packed::default();
        let mut in_places = HashSet::new();
        for (index, node) in tree.nodes.iter().enumerate() {
            if is_place_in(tree, root, index) {
                in_places.insert(node.link.unwrap_or(index));
            }
        }
        for (index, node) in tree.nodes.iter_mut().enumerate() {
            if node.link.is_some() || in_places.contains(&index) {
                continue;
            }
            let stamp = node.stamp;
            if let NodeKind::File {
                content: content @ FileContent::Unread,
                ..
            } = &mut node.kind
                && let Some(pieces) = self.content(&stamp, &mut known)
            {
                *content = FileContent::Read(pieces);
            }
        }
        known
    }

    fn content(&self, stamp: &Stamp, known: &mut Packed) -> Option<Pieces> {
        let key = (stamp.device, stamp.inode);
        let files = &self.0.files;
        let at = files
            .binary_search_by_key(&key, |file| (file.device.get(), file.inode.get()))
            .ok()?;
        let file = &files[at];
        if stamp_of(file) != *stamp {
            return None;
        }
        let first = file.first.get() as usize;
        let pieces = self
            .0
            .pieces
            .get(first..first + file.pieces.get() as usize)?;
        let mut content = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let id = (piece.frame.get() != HOLE).then_some(piece.chunk);
            if let Some(id) = id {
                let (location, pack) = self.locate(piece)?;
                known.chunks.insert(id, location);
                known.known_packs.insert(pack.id, pack);
            }
            content.push((id, piece.length.get()));
        }
        Some(content)
    }

    fn locate(&self, piece: &SeenPiece) -> Option<(ChunkLocation, PackRef)> {
        let frame = self.0.frames.get(piece.frame.get() as usize)?;
        let pack = self.0.packs.get(frame.pack.get() as usize)?;
        let location = ChunkLocation {
            frame: FrameLocation {
                pack: pack.id,
                offset: frame.offset.get(),
                stored: frame.stored.get(),
                raw: frame.raw.get(),
                codec: Codec::from_number(frame.codec)?,
                hash: frame.hash,
            },
            offset: piece.offset.get(),
            length: u32::try_from(piece.length.get()).ok()?,
        };
        let pack = PackRef {
            id: pack.id,
            length: pack.length.get(),
            trailer: pack.trailer.get(),
            hash: (pack.hash != UNKNOWN).then_some(pack.hash),
        };
        Some((location, pack))
    }

    /// Writes a list of the files of `tree` that were read, or were on a list already.
    ///
    /// `scanned` is the time just before the scan began, and `packed` says where the chunks are.
    /// Files that are listed must have been searched by `scanner`, now or when they were read.
    /// Fails when the list cannot be written; then the former one stays.
    pub(super) fn write(
        path: &Path,
        domain: &DomainId,
        tree: &FileTree,
        packed: &Packed,
        scanned: SystemTime,
        scanner: &Scanner,
    ) -> std::io::Result<()> {
        let settled = settled_before(scanned);
        let mut writer = SeenListWriter::new(packed);
        writer.tables.salt = PackId::random().0;
        writer.tables.searched = scanner.fingerprint(&writer.tables.salt);
        let found: HashSet<_> = packed.findings.iter().map(|(node, _)| *node).collect();
        for (index, node) in tree.nodes.iter().enumerate() {
            let stamp = &node.stamp;
            if node.link.is_none()
                && !found.contains(&index)
                && node.meta.xattrs.is_empty()
                && stamp.changed < settled
                && stamp.modified < settled
            {
                // A file that cannot be listed is read again by the next save.
                let _ = writer.add(node);
            }
        }
        replace_file(path, &writer.finish().encode(domain), Durability::Volatile)
    }
}

/// The last moment at which a file may have been touched.
fn settled_before(scanned: SystemTime) -> (i64, i64) {
    let since = scanned
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .saturating_sub(SETTLED);
    (since.as_secs() as i64, i64::from(since.subsec_nanos()))
}

fn stamp_of(file: &SeenFile) -> Stamp {
    Stamp {
        device: file.device.get(),
        inode: file.inode.get(),
        size: file.size.get(),
        changed: (file.changed.get(), file.changed_nanos.get().into()),
        modified: (file.modified.get(), file.modified_nanos.get().into()),
    }
}

/// Makes the lists.
struct SeenListWriter<'a> {
    packed: &'a Packed,
    tables: Tables,
    packs: HashMap<PackId, u32>,
    frames: HashMap<(u32, u32), u32>,
}

impl<'a> SeenListWriter<'a> {
    fn new(packed: &'a Packed) -> Self {
        let mut writer = Self {
            packed,
            tables: Tables::default(),
            packs: HashMap::new(),
            frames: HashMap::new(),
        };
        for pack in packed.known_packs.values().chain(&packed.new_packs) {
            let number = writer.tables.packs.len() as u32;
            writer.packs.insert(pack.id, number);
            writer.tables.packs.push(Pack {
                id: pack.id,
                length: U32::new(pack.length),
                trailer: U32::new(pack.trailer),
                hash: pack.hash.unwrap_or(UNKNOWN),
            });
        }
        writer
    }

    fn add(&mut self, node: &FileNode) -> Option<()> {
        let NodeKind::File {
            content: FileContent::Read(pieces),
            ..
        } = &node.kind
        else {
            return None;
        };
        let first = self.tables.pieces.len();
        for (id, length) in pieces {
            let piece = self.piece(id.as_ref(), *length);
            let Some(piece) = piece else {
                self.tables.pieces.truncate(first);
                return None;
            };
            self.tables.pieces.push(piece);
        }
        let stamp = &node.stamp;
        self.tables.files.push(SeenFile {
            device: U64::new(stamp.device),
            inode: U64::new(stamp.inode),
            size: U64::new(stamp.size),
            changed: I64::new(stamp.changed.0),
            modified: I64::new(stamp.modified.0),
            changed_nanos: U32::new(stamp.changed.1 as u32),
            modified_nanos: U32::new(stamp.modified.1 as u32),
            first: U32::new(first as u32),
            pieces: U32::new(pieces.len() as u32),
        });
        Some(())
    }

    fn piece(&mut self, id: Option<&ChunkId>, length: u64) -> Option<SeenPiece> {
        let Some(id) = id else {
            return Some(SeenPiece {
                chunk: ChunkId([0; 32]),
                length: U64::new(length),
                frame: U32::new(HOLE),
                offset: U32::new(0),
            });
        };
        let location = self.packed.chunks.get(id)?;
        let frame = &location.frame;
        let pack = *self.packs.get(&frame.pack)?;
        let next = self.tables.frames.len() as u32;
        let number = *self.frames.entry((pack, frame.offset)).or_insert(next);
        if number == next {
            self.tables.frames.push(SeenFrame {
                hash: frame.hash,
                pack: U32::new(pack),
                offset: U32::new(frame.offset),
                stored: U32::new(frame.stored),
                raw: U32::new(frame.raw),
                codec: frame.codec as u8,
                reserved: [0; 3],
            });
        }
        Some(SeenPiece {
            chunk: *id,
            length: U64::new(length),
            frame: U32::new(number),
            offset: U32::new(location.offset),
        })
    }

    fn finish(mut self) -> Tables {
        let files = &mut self.tables.files;
        files.sort_unstable_by_key(|file| (file.device.get(), file.inode.get()));
        self.tables
    }
}
