//! One worker's share: reading, cutting and hashing a run of files.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::batch_part::BatchPart;
use super::file_stamp::stamp_of;
use super::gathered::{GatheredContent, GatheredNodes};
use super::reading::Reading;
use super::secret_guard::Watch;
use super::tree::{FileContent, FileNode, FileTree, NodeKind};
use super::xattrs;
use crate::chunk::{self, SEGMENT};
use crate::error::{Error, Result};
use crate::id::ChunkId;
use crate::layer::Xattrs;
use crate::resolve_beneath::open_beneath;
use crate::secrets::{SecretFinding, SecretHandling};

/// A batch holds about this many bytes of small files, or one segment of a large one.
pub(crate) const BATCH_BYTES: u64 = 4 << 20;
/// Largest number of files in a batch.
pub(crate) const BATCH_FILES: usize = 1024;

/// A run of files in path order.
#[derive(Debug, Clone, Default)]
pub(super) struct FileBatch {
    pub(super) parts: Vec<BatchPart>,
}

/// Largest number of data segments of a file: 16 TiB in segments. Bounds the memory of the plan on
/// filesystems that cannot report holes.
const MAX_SEGMENTS: u64 = 1 << 20;

/// Cuts the unread files of a tree into batches.
///
/// A stretch of segments without data is one part, so that a file of exabytes which holds a few
/// bytes takes a few parts.
///
/// # Errors
///
/// [`Error::TooLarge`] for a file with more than 16 TiB of data.
pub(super) fn plan_batches(
    root: BorrowedFd<'_>,
    tree: &FileTree,
    gathered: &GatheredNodes,
) -> Result<Vec<FileBatch>> {
    let mut failed = None;
    let mut batches = Vec::new();
    let mut current = FileBatch::default();
    let mut bytes = 0;
    let mut close = |current: &mut FileBatch, bytes: &mut u64| {
        *bytes = 0;
        if !current.parts.is_empty() {
            batches.push(std::mem::take(current));
        }
    };
    tree.visit(|node| {
        let NodeKind::File {
            size,
            content: FileContent::Unread,
        } = tree.nodes[node].kind
        else {
            return;
        };
        if tree.nodes[node].link.is_some() {
            return;
        }
        if let Some(content) = gathered.get(&node) {
            for range in content.plan_parts(BATCH_BYTES) {
                close(&mut current, &mut bytes);
                current.parts.push(BatchPart { node, range });
            }
            close(&mut current, &mut bytes);
            return;
        }
        if bytes + size > BATCH_BYTES || current.parts.len() >= BATCH_FILES {
            close(&mut current, &mut bytes);
        }
        let mut start = 0;
        let mut segments = 0;
        // A file that cannot be opened any more is found out when it is to be read.
        let sparse = (tree.nodes[node].sparse && size > SEGMENT)
            .then(|| open_file(root, tree, node).ok())
            .flatten();
        while size - start > SEGMENT && failed.is_none() {
            let end = match hole_end(sparse.as_ref(), start, size) {
                Some(end) => end,
                None => {
                    segments += 1;
                    start + SEGMENT
                }
            };
            if segments > MAX_SEGMENTS {
                failed = Some(Error::TooLarge {
                    what: "the data of a file",
                    limit: format!("{} TiB", (MAX_SEGMENTS * SEGMENT) >> 40),
                });
            }
            current.parts.push(BatchPart {
                node,
                range: start..end,
            });
            close(&mut current, &mut bytes);
            start = end;
        }
        if start == size && size > 0 {
            return;
        }
        bytes += size - start;
        current.parts.push(BatchPart {
            node,
            range: start..size,
        });
    });
    close(&mut current, &mut bytes);
    match failed {
        Some(error) => Err(error),
        None => Ok(batches),
    }
}

fn open_file(root: BorrowedFd<'_>, tree: &FileTree, node: usize) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    open_beneath(root, &tree.os_path(node), flags, Mode::empty())
}

/// Where the segments end that begin at `start` and have no data; `None` if the first has some.
fn hole_end(file: Option<&OwnedFd>, start: u64, size: u64) -> Option<u64> {
    let data = next_data(file?, start, size).ok()?.start;
    match data == size {
        true => Some(size),
        // Segments begin at multiples of their length, so that the same file is cut the same way
        // however its holes change.
        false => Some(data / SEGMENT * SEGMENT).filter(|end| *end > start),
    }
}

/// A chunk in a [`ReadBatch`].
#[derive(Debug, Clone)]
pub(crate) struct BatchChunk {
    /// `None` for a hole.
    pub(crate) id: Option<ChunkId>,
    pub(crate) length: u64,
    /// Where its bytes are in the batch's buffer.
    pub(crate) bytes: Range<usize>,
}

/// A part that has been read.
#[derive(Debug)]
pub(crate) struct ReadPart {
    pub(crate) part: BatchPart,
    pub(crate) pieces: Vec<BatchChunk>,
    pub(crate) xattrs: Xattrs,
    /// Secrets that the scanner found in it.
    pub(crate) findings: Vec<SecretFinding>,
    /// Whether the file changed while it was read. Then there are no pieces.
    pub(crate) changed: bool,
}

impl ReadPart {
    /// Whether the file must not be stored.
    pub(super) fn is_left_out(&self) -> bool {
        !self.findings.iter().all(|found| found.fate.is_stored())
    }

    /// Whether a finding forbids to store it.
    pub(super) fn is_refused(&self) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|found| found.fate == SecretHandling::Refused)
    }
}

/// How a reader treats a file that changes while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnChange {
    /// Fails with [`Error::Changed`].
    Fail,
    /// Marks the part as [changed](ReadPart::changed).
    Mark,
    /// Keeps the bytes that were read, if the file still has the length that the scan saw. The
    /// caller compares the file with them again.
    Accept,
}

/// A batch that has been read, cut and hashed.
#[derive(Debug, Default)]
pub(crate) struct ReadBatch {
    pub(crate) buffer: Vec<u8>,
    pub(crate) parts: Vec<ReadPart>,
}

/// Reads batches, and searches them for secrets, with descriptors and memory that are used again.
pub(super) struct BatchReader<'a> {
    root: BorrowedFd<'a>,
    tree: &'a FileTree,
    reading: &'a dyn Reading,
    watch: &'a Watch<'a>,
    on_change: OnChange,
    gathered: Option<&'a GatheredNodes>,
    /// The directory of the last file, which mostly is that of the next one too.
    directory: Option<(usize, OwnedFd)>,
}

impl<'a> BatchReader<'a> {
    pub(super) fn new(
        root: BorrowedFd<'a>,
        tree: &'a FileTree,
        reading: &'a dyn Reading,
        watch: &'a Watch<'a>,
        on_change: OnChange,
    ) -> Self {
        Self {
            root,
            tree,
            reading,
            watch,
            on_change,
            gathered: None,
            directory: None,
        }
    }

    /// Of these files, only their ranges are read.
    pub(super) fn gathering(self, gathered: &'a GatheredNodes) -> Self {
        Self {
            gathered: Some(gathered),
            ..self
        }
    }

    /// Reads a batch. `buffer` is reused memory.
    pub(super) fn read(&mut self, batch: &FileBatch, buffer: Vec<u8>) -> Result<ReadBatch> {
        let mut read = ReadBatch {
            buffer,
            parts: Vec::with_capacity(batch.parts.len()),
        };
        read.buffer.clear();
        for part in &batch.parts {
            let path = || self.tree.os_path(part.node);
            let start = read.buffer.len();
            match self.read_part(part, &mut read.buffer) {
                Ok(Some(part)) => read.parts.push(part),
                // The file was removed, or replaced by an entry that is not a file.
                Ok(None)
                | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR | Errno::NXIO) => {
                    if self.on_change == OnChange::Fail {
                        return Err(Error::Changed { path: path() });
                    }
                    read.buffer.truncate(start);
                    read.parts.push(ReadPart {
                        part: part.clone(),
                        pieces: Vec::new(),
                        xattrs: Xattrs::default(),
                        findings: Vec::new(),
                        changed: true,
                    });
                }
                Err(errno) => return Err(Error::io("read", path())(errno.into())),
            }
        }
        Ok(read)
    }

    fn open(&mut self, node: usize) -> Result<OwnedFd, Errno> {
        let FileNode { name, parent, .. } = &self.tree.nodes[node];
        let directory = match self.directory.take() {
            Some((last, directory)) if last == *parent => directory,
            _ => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                let path = self.tree.os_path(*parent);
                open_beneath(self.root, &path, flags, Mode::empty())?
            }
        };
        let (_, directory) = self.directory.insert((*parent, directory));
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::openat(directory, &**name, flags, Mode::empty())
    }

    /// Reads one part; `None` when the file is not as it was scanned.
    ///
    /// That is found out afterwards only: a file that has the same times as when it was scanned was
    /// not written to in between.
    fn read_part(
        &mut self,
        part: &BatchPart,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<ReadPart>, Errno> {
        let file = self.open(part.node)?;
        let node = &self.tree.nodes[part.node];
        if let Some(content) = self.gathered.and_then(|nodes| nodes.get(&part.node)) {
            return self.read_gathered(&file, part, content, buffer);
        }
        let xattrs = match part.range.start {
            0 => xattrs::of_fd(file.as_fd(), self.reading)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?,
            _ => Xattrs::default(),
        };
        let mut pieces = Vec::new();
        let mut edges = [Vec::new(), Vec::new()];
        let margin = self.watch.margin() as u64;
        if margin > 0 {
            let size = node.stamp.size;
            let before = part.range.start.saturating_sub(margin)..part.range.start;
            let behind = part.range.end..size.min(part.range.end + margin);
            for (edge, range) in edges.iter_mut().zip([before, behind]) {
                if !append_range(&file, edge, range)? {
                    return Ok(None);
                }
            }
        }
        let start = buffer.len();
        let mut at = part.range.start;
        while at < part.range.end {
            let data = if node.sparse {
                next_data(&file, at, part.range.end)?
            } else {
                at..part.range.end
            };
            if data.start > at {
                let hole = data.start - at;
                pieces.push(BatchChunk {
                    id: None,
                    length: hole,
                    bytes: 0..0,
                });
            }
            let first = buffer.len();
            // There was a hole here, or the part would not be as long.
            if (first - start) as u64 + (data.end - data.start) > SEGMENT {
                return Ok(None);
            }
            if !append_range(&file, buffer, data.clone())? {
                return Ok(None);
            }
            cut_stretch(buffer, first..buffer.len(), &mut pieces);
            at = data.end;
        }
        let now = stamp_of(&rustix::fs::fstat(&file)?);
        let is_inode = (now.device, now.inode) == (node.stamp.device, node.stamp.inode);
        let unchanged = now == node.stamp || (self.on_change == OnChange::Accept && is_inode);
        Ok(unchanged.then(|| ReadPart {
            part: part.clone(),
            pieces,
            xattrs,
            findings: self.watch.inspect(part, &buffer[start..], &edges),
            changed: false,
        }))
    }
}

impl BatchReader<'_> {
    /// Reads a part of a file of which only ranges are saved. Such files are not searched for
    /// secrets.
    fn read_gathered(
        &self,
        file: &OwnedFd,
        part: &BatchPart,
        content: &GatheredContent,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<ReadPart>, Errno> {
        let mut pieces = Vec::new();
        for range in content.ranges_of(&part.range) {
            let first = buffer.len();
            if !append_range(file, buffer, range)? {
                return Ok(None);
            }
            cut_stretch(buffer, first..buffer.len(), &mut pieces);
        }
        let now = stamp_of(&rustix::fs::fstat(file)?);
        let unchanged = now == self.tree.nodes[part.node].stamp;
        Ok(unchanged.then(|| ReadPart {
            part: part.clone(),
            pieces,
            xattrs: Xattrs::default(),
            findings: Vec::new(),
            changed: false,
        }))
    }
}

/// Cuts a stretch of a file in a buffer into chunks, and hashes them.
pub(crate) fn cut_stretch(buffer: &[u8], stretch: Range<usize>, pieces: &mut Vec<BatchChunk>) {
    let mut from = stretch.start;
    for length in chunk::cut_chunks(&buffer[stretch]) {
        let bytes = from..from + length;
        from = bytes.end;
        pieces.push(BatchChunk {
            id: Some(ChunkId::of(&buffer[bytes.clone()])),
            length: length as u64,
            bytes,
        });
    }
}

/// The next stretch of data at or after `at`, clipped to `end`; empty at `end` if only a hole is
/// left.
pub(super) fn next_data(file: &OwnedFd, at: u64, end: u64) -> Result<Range<u64>, Errno> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => start.min(end),
        Err(Errno::NXIO) => end,
        Err(Errno::INVAL) => at,
        Err(errno) => return Err(errno),
    };
    if start == end {
        return Ok(end..end);
    }
    let stop = match rustix::fs::seek(file, SeekFrom::Hole(start)) {
        Ok(stop) => stop.min(end),
        Err(Errno::INVAL) => end,
        Err(errno) => return Err(errno),
    };
    Ok(start..stop)
}

/// Appends a range of a file to `buffer`; `false` when the file is shorter.
fn append_range(file: &OwnedFd, buffer: &mut Vec<u8>, range: Range<u64>) -> Result<bool, Errno> {
    let length = (range.end - range.start) as usize;
    let first = buffer.len();
    buffer.reserve(length);
    while buffer.len() - first < length {
        let done = buffer.len() - first;
        let room = &mut buffer.spare_capacity_mut()[..length - done];
        match rustix::io::pread(file, room, range.start + done as u64) {
            Ok(([], _)) => return Ok(false),
            Ok((read, _)) => {
                let filled = first + done + read.len();
                // SAFETY: the bytes before were there, and those behind were filled by this read.
                unsafe { buffer.set_len(filled) };
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::progress::Silent;
    use crate::save::exclude::Everything;
    use crate::save::reading::PlainFiles;
    use crate::save::scan::scan_tree;

    fn parts_of(size: u64, data: &[u64]) -> Vec<Range<u64>> {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("sparse")).unwrap();
        file.set_len(size).unwrap();
        for at in data {
            file.write_all_at(b"x", *at).unwrap();
        }
        let root = File::open(dir.path()).unwrap();
        let scanned = scan_tree(root.as_fd(), &PlainFiles, &Everything, &Silent);
        let batches =
            plan_batches(root.as_fd(), &scanned.unwrap().tree, &GatheredNodes::new()).unwrap();
        let parts = batches.into_iter().flat_map(|batch| batch.parts);
        parts.map(|part| part.range).collect()
    }

    #[test]
    fn a_hole_is_one_part_however_long_it_is() {
        const TIB: u64 = 1 << 40;
        let parts = parts_of(8 * TIB, &[]);
        assert_eq!((parts.len(), parts[0].clone()), (1, 0..8 * TIB));
        let middle = 5 * TIB + 3;
        assert_eq!(
            parts_of(8 * TIB, &[middle]),
            [
                0..5 * TIB,
                5 * TIB..5 * TIB + SEGMENT,
                5 * TIB + SEGMENT..8 * TIB
            ]
        );
    }

    #[test]
    fn segments_begin_at_multiples_of_their_length() {
        for part in parts_of(10 * SEGMENT + 5, &[3 * SEGMENT + 7, 10 * SEGMENT + 2]) {
            assert_eq!(part.start % SEGMENT, 0);
        }
    }

    #[test]
    fn an_empty_file_has_a_part() {
        assert_eq!(parts_of(0, &[]).len(), 1);
    }
}
