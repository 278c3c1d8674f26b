//! Reads an archive into a tree whose chunks are stored.

use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;

use parking_lot::Mutex;

use super::compression::decompress_stream;
use super::error::ArchiveError;
use super::failure::{self, display_name, read_error};
use super::members::{Member, MemberKind, Members};
use super::names::{Mapped, Names};
use super::sparse::SparseLayout;
use super::tree::{GrowingTree, directory_node, pending_file_node};
use crate::chunk::SEGMENT;
use crate::error::Result;
use crate::layer::{Xattrs, mode};
use crate::progress::Progress;
use crate::save::reading::Skipped;
use crate::save::target::Target;
use crate::save::{
    BATCH_BYTES, BATCH_FILES, BatchChunk, BatchPart, FileTree, NodeKind, Packed, ReadBatch,
    ReadBatches, ReadPart, Supply, cut_stretch, note_content, pack_supply,
};

/// How an archive is read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Mapping of the names.
    pub names: Names,
    /// It may hold files of this many bytes together, holes included.
    pub limit: u64,
}

/// Content of an archive.
#[derive(Debug)]
pub(crate) struct ReadArchive {
    /// Its tree; all files are read.
    pub(crate) tree: FileTree,
    /// Where their chunks are.
    pub(crate) packed: Packed,
    /// Members that are left out: devices, and types that are not files.
    pub(crate) skipped: Vec<Skipped>,
    /// Number of members that are not below the directory.
    pub(crate) outside: u64,
    /// The archive's name for the directory, if it was detected.
    pub(crate) found: Option<String>,
}

/// Reads an archive, plain or compressed, and stores the chunks that are new.
///
/// Reads `source` once, in order, from several threads that take turns. Fails without a trace but
/// packs that nothing names when the archive is damaged, or is one that no honest tool writes.
pub(crate) fn read_archive(
    source: impl Read + Send,
    options: &ReadOptions,
    target: &dyn Target,
    known: Packed,
    progress: &dyn Progress,
) -> Result<ReadArchive> {
    let (_, plain) = decompress_stream(source).map_err(read_error)?;
    let supply = ArchiveReader(Mutex::new(Reading {
        members: Members::new(plain),
        names: options.names.clone(),
        left: options.limit,
        limit: options.limit,
        tree: GrowingTree::new(),
        open: None,
        skipped: Vec::new(),
        outside: 0,
        seen: None,
        taken: 0,
        total: (0, 0),
        batches: 0,
        ended: false,
        progress,
    }));
    let (mut packed, parts) = pack_supply(&supply, target, known, progress)?;
    let mut reading = supply.0.into_inner();
    if reading.taken == 0 {
        return Err(ArchiveError::Nothing {
            wanted: reading.names.wanted(),
            seen: reading.seen.as_deref().map(display_name),
        }
        .into());
    }
    note_content(&mut reading.tree.nodes, parts, &mut packed);
    Ok(ReadArchive {
        tree: reading.tree.finish(),
        packed,
        skipped: reading.skipped,
        outside: reading.outside,
        found: reading.names.found(),
    })
}

/// The stored name of an archive's first member; `None` if it has none.
pub fn first_name(source: impl Read + Send) -> Result<Option<Vec<u8>>> {
    let (_, plain) = decompress_stream(source).map_err(read_error)?;
    let first = Members::new(plain).next()?;
    Ok(first.map(|member| member.name))
}

/// An archive that workers read in turn.
struct ArchiveReader<'a>(Mutex<Reading<'a>>);

struct Reading<'a> {
    members: Members<Box<dyn Read + Send + 'a>>,
    names: Names,
    /// Remaining limit for bytes of files.
    left: u64,
    limit: u64,
    tree: GrowingTree,
    /// A file of which not all is read.
    open: Option<OpenMember>,
    skipped: Vec<Skipped>,
    outside: u64,
    /// A name that was not below the directory.
    seen: Option<Vec<u8>>,
    /// Members that were taken.
    taken: u64,
    /// Files so far, and their bytes.
    total: (u64, u64),
    batches: usize,
    ended: bool,
    progress: &'a dyn Progress,
}

/// A file between two batches.
struct OpenMember {
    node: usize,
    layout: SparseLayout,
    /// Up to where it is read.
    at: u64,
    /// The stretch of data that is next.
    stretch: usize,
    xattrs: Xattrs,
}

/// A part of a file, its data in the batch's buffer.
struct Filled {
    part: BatchPart,
    xattrs: Xattrs,
    /// Bytes of the buffer, or a hole, with its length in the file.
    stretches: Vec<(Option<Range<usize>>, u64)>,
}

impl Supply for ArchiveReader<'_> {
    fn at_most(&self) -> usize {
        usize::MAX
    }

    fn reader(&self) -> Box<dyn ReadBatches + '_> {
        Box::new(self)
    }

    fn is_complete(&self, batches: usize) -> bool {
        let reading = self.0.lock();
        reading.ended && batches == reading.batches
    }
}

impl ReadBatches for &ArchiveReader<'_> {
    fn next(
        &mut self,
        turn: &dyn Fn() -> Option<usize>,
        mut buffer: Vec<u8>,
    ) -> Result<Option<(usize, ReadBatch)>> {
        buffer.clear();
        let (number, filled) = {
            let mut reading = self.0.lock();
            if reading.ended {
                return Ok(None);
            }
            // The lock is held while this thread waits for its turn, so numbers follow the order of
            // reading.
            let Some(number) = turn() else {
                return Ok(None);
            };
            let filled = reading.fill(&mut buffer)?;
            if filled.is_empty() {
                return Ok(None);
            }
            reading.batches += 1;
            (number, filled)
        };
        let parts = filled.into_iter().map(|part| part.cut(&buffer)).collect();
        Ok(Some((number, ReadBatch { buffer, parts })))
    }
}

impl Filled {
    fn cut(self, buffer: &[u8]) -> ReadPart {
        let mut pieces = Vec::new();
        for (bytes, length) in self.stretches {
            match bytes {
                Some(bytes) => cut_stretch(buffer, bytes, &mut pieces),
                None => pieces.push(BatchChunk {
                    id: None,
                    length,
                    bytes: 0..0,
                }),
            }
        }
        ReadPart {
            part: self.part,
            pieces,
            xattrs: self.xattrs,
            findings: Vec::new(),
            changed: false,
        }
    }
}

impl Reading<'_> {
    /// Reads files until a batch is full; nothing is left when none was read.
    fn fill(&mut self, buffer: &mut Vec<u8>) -> Result<Vec<Filled>> {
        let mut parts = Vec::new();
        while (buffer.len() as u64) < BATCH_BYTES && parts.len() < BATCH_FILES {
            if self.open.is_none() && !self.open_next()? {
                self.ended = true;
                break;
            }
            if let Some(mut open) = self.open.take() {
                let whole = open.at == 0 && open.layout.size <= SEGMENT;
                // Large files have batches of their own, a segment each.
                if !whole && !parts.is_empty() {
                    self.open = Some(open);
                    break;
                }
                parts.push(self.fill_part(&mut open, buffer)?);
                if open.at < open.layout.size {
                    self.open = Some(open);
                    break;
                }
            }
        }
        Ok(parts)
    }

    /// Reads the next segment of a file.
    fn fill_part(&mut self, open: &mut OpenMember, buffer: &mut Vec<u8>) -> Result<Filled> {
        let size = open.layout.size;
        let data = open.layout.data.get(open.stretch);
        let data = data.map_or(size, |data| data.start.max(open.at));
        let range = match data - open.at > SEGMENT {
            // Segments without data are one part, however many they are.
            true if data == size => open.at..size,
            true => open.at..data / SEGMENT * SEGMENT,
            false => open.at..size.min(open.at + SEGMENT),
        };
        let mut stretches = Vec::new();
        while open.at < range.end {
            let next = open.layout.data.get(open.stretch);
            let data = next.map_or(open.layout.size, |data| data.start.max(open.at));
            if data > open.at {
                let hole = data.min(range.end) - open.at;
                stretches.push((None, hole));
                open.at += hole;
                continue;
            }
            let stop = next.map_or(range.end, |data| data.end.min(range.end));
            let first = buffer.len();
            // At most a segment.
            buffer.resize(first + (stop - open.at) as usize, 0);
            self.members.read(&mut buffer[first..])?;
            stretches.push((Some(first..buffer.len()), stop - open.at));
            open.at = stop;
            if next.is_some_and(|data| data.end == stop) {
                open.stretch += 1;
            }
        }
        let xattrs = if range.start == 0 {
            std::mem::take(&mut open.xattrs)
        } else {
            Xattrs::default()
        };
        Ok(Filled {
            part: BatchPart {
                node: open.node,
                range,
            },
            xattrs,
            stretches,
        })
    }

    /// Takes members until one is a file; `false` at the end.
    fn open_next(&mut self) -> Result<bool> {
        while let Some(member) = self.members.next()? {
            if self.progress.cancelled() {
                return Err(crate::Error::Cancelled);
            }
            if matches!(member.kind, MemberKind::Unknown(b'V')) {
                // The label of a volume is free text and not the name of a file.
                continue;
            }
            let Mapped::Inside(path) = self.names.map(&member.name)? else {
                self.outside += 1;
                self.seen.get_or_insert(member.name);
                continue;
            };
            self.take(member, &path)?;
            if self.open.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn take(&mut self, member: Member, path: &[Vec<u8>]) -> Result<()> {
        let Member {
            name,
            mut meta,
            kind,
        } = member;
        let kind = match kind {
            MemberKind::Directory => directory_node(),
            MemberKind::File(layout) => {
                self.left =
                    self.left
                        .checked_sub(layout.size)
                        .ok_or_else(|| ArchiveError::TooLarge {
                            limit: format!("{} GB", self.limit / 1_000_000_000),
                        })?;
                let xattrs = meta.xattrs.clone();
                let size = layout.size;
                let node = self.tree.put(path, meta, pending_file_node(size))?;
                self.total = (self.total.0 + 1, self.total.1 + size);
                self.progress.total(self.total.0, self.total.1);
                self.open = Some(OpenMember {
                    node,
                    layout,
                    at: 0,
                    stretch: 0,
                    xattrs,
                });
                self.taken += 1;
                return Ok(());
            }
            MemberKind::Symlink(target) => {
                if target.is_empty() || target.len() > 4095 || target.contains(&0) {
                    return Err(failure::refused(&name, "is a link to an invalid path"));
                }
                meta.mode = mode::SYMLINK | 0o777;
                NodeKind::Symlink(target.into())
            }
            MemberKind::HardLink(target) => {
                return match self.names.map(&target)? {
                    Mapped::Inside(target) => {
                        self.taken += 1;
                        self.tree.link(path, &target)
                    }
                    Mapped::Outside => Err(failure::refused(
                        &name,
                        format!(
                            "is a hard link to `{}`, which is not taken",
                            display_name(&target)
                        ),
                    )),
                };
            }
            MemberKind::Fifo => NodeKind::Special(0),
            MemberKind::Device => {
                self.skip(path, "device");
                return Ok(());
            }
            MemberKind::Unknown(_) => {
                self.skip(path, "entry of an unknown type");
                return Ok(());
            }
        };
        self.tree.put(path, meta, kind)?;
        self.taken += 1;
        Ok(())
    }

    fn skip(&mut self, path: &[Vec<u8>], what: &'static str) {
        use std::os::unix::ffi::OsStringExt;
        self.skipped.push(Skipped {
            path: PathBuf::from(std::ffi::OsString::from_vec(path.join(&b'/'))),
            what,
        });
    }
}
