//! From the files of a tree to packs in the remote.
//!
//! Workers take batches in path order and do everything that costs time: read, hash, look up,
//! compress. What they finish is put back in order, laid into packs, and stored by a few uploaders.
//! A worker may not run further ahead than a few batches, so memory stays bounded: about 16 MiB a
//! worker, and 32 MiB for each pack that is being stored.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex};

use super::batch::{self, FileBatch, OnChange, ReadBatch, ReadPart};
use super::guard::{Guard, Watch};
use super::progress::Progress;
use super::scan::{Reading, Skipped};
use super::settle;
use super::target::Target;
use super::tree::{FileContent, FileTree, NodeKind};
use crate::error::{Error, Result};
use crate::frame::{BuiltFrame, ChunkLocation, FrameBuilder};
use crate::id::{ChunkId, PackId};
use crate::index::Indexed;
use crate::pack::{FinishedPack, PackRef, PackWriter};
use crate::secrets::SecretFinding;

/// So many packs are stored at the same time.
const UPLOADS: usize = 4;
/// For each worker, so many batches may be under way or wait for an earlier one.
const AHEAD: usize = 4;

/// Where everything is after [`pack_files`].
#[derive(Debug, Default)]
pub struct Packed {
    /// Every chunk of the tree's files.
    pub chunks: HashMap<ChunkId, ChunkLocation>,
    /// The packs that were written.
    pub new_packs: Vec<PackRef>,
    /// The packs that held chunks already.
    pub known_packs: HashMap<PackId, PackRef>,
    /// Raw bytes of the chunks that were new.
    pub new_raw: u64,
    /// The secrets that were found in the files that were read, by node, in path order.
    pub findings: Vec<(usize, SecretFinding)>,
}

impl Packed {
    /// Bytes of the packs that were written.
    pub fn new_bytes(&self) -> u64 {
        self.new_packs
            .iter()
            .map(|pack| u64::from(pack.length))
            .sum()
    }
}

/// What a worker makes of a batch.
struct FinishedBatch {
    frames: Vec<BuiltFrame>,
    found: Vec<(ChunkId, Indexed)>,
    parts: Vec<ReadPart>,
}

/// Numbers batches, never too far ahead.
struct Feed {
    next: usize,
    placed: usize,
    stop: bool,
}

/// Where the bytes that are packed come from, in batches.
pub(crate) trait Supply: Sync {
    /// There are at most so many batches.
    fn at_most(&self) -> usize;

    /// A way to the batches for one worker.
    fn reader(&self) -> Box<dyn ReadBatches + '_>;

    /// Whether there is nothing after the first so many batches.
    fn is_complete(&self, batches: usize) -> bool;
}

/// One worker's way to the batches of a [`Supply`].
pub(crate) trait ReadBatches {
    /// Reads a batch that no other worker has; `None` after the last.
    ///
    /// `turn` gives the batch its number, after a wait when packing is far behind, or says that
    /// the work is to stop. `buffer` is reused memory.
    fn next(
        &mut self,
        turn: &dyn Fn() -> Option<usize>,
        buffer: Vec<u8>,
    ) -> Result<Option<(usize, ReadBatch)>>;
}

/// The unread files of a tree.
struct Files<'a> {
    root: BorrowedFd<'a>,
    tree: &'a FileTree,
    reading: &'a dyn Reading,
    batches: Vec<FileBatch>,
    watch: Watch<'a>,
    on_change: OnChange,
}

impl Supply for Files<'_> {
    fn at_most(&self) -> usize {
        self.batches.len()
    }

    fn reader(&self) -> Box<dyn ReadBatches + '_> {
        let reader = batch::BatchReader::new(
            self.root,
            self.tree,
            self.reading,
            &self.watch,
            self.on_change,
        );
        Box::new(FilesReader {
            batches: &self.batches,
            reader,
        })
    }

    fn is_complete(&self, batches: usize) -> bool {
        batches >= self.batches.len()
    }
}

struct FilesReader<'a> {
    batches: &'a [FileBatch],
    reader: batch::BatchReader<'a>,
}

impl ReadBatches for FilesReader<'_> {
    fn next(
        &mut self,
        turn: &dyn Fn() -> Option<usize>,
        buffer: Vec<u8>,
    ) -> Result<Option<(usize, ReadBatch)>> {
        let numbered = turn().and_then(|number| Some((number, self.batches.get(number)?)));
        let Some((number, batch)) = numbered else {
            return Ok(None);
        };
        Ok(Some((number, self.reader.read(batch, buffer)?)))
    }
}

struct PipelineShared<'a> {
    supply: &'a dyn Supply,
    target: &'a dyn Target,
    progress: &'a dyn Progress,
    /// How far reading may run ahead of packing, in batches.
    ahead: usize,
    feed: Mutex<Feed>,
    fed: Condvar,
    /// Chunks that some worker has taken on, so that no other stores them too.
    claimed: Mutex<HashSet<ChunkId>>,
    /// Nothing more is stored, as a secret fails the whole save.
    refused: AtomicBool,
}

/// Reads every unread file of `tree`, stores the chunks that are new, and notes in the tree what
/// each file is made of.
///
/// `known` is where the chunks of files are that the tree knows already; it becomes part of the
/// result. A file that `guard` wants left out is so before any of its chunks with a secret is stored;
/// where that fails the save, the rest is searched and not stored.
///
/// # Errors
///
/// [`Error::Changed`] when a file changes while it is read, and those of the target.
pub fn pack_files(
    root: BorrowedFd<'_>,
    tree: &mut FileTree,
    reading: &dyn Reading,
    target: &dyn Target,
    known: Packed,
    guard: &Guard<'_>,
    progress: &dyn Progress,
) -> Result<Packed> {
    let read = |tree: &FileTree, known| {
        let files = Files::new(root, tree, reading, guard, OnChange::Fail)?;
        pack_supply(&files, target, known, progress)
    };
    let (mut packed, parts) = read(tree, known)?;
    note_parts(tree, parts, &mut packed);
    Ok(packed)
}

/// Does what [`pack_files`] does for a directory in which other programs may be at work: a file that
/// changes is read again, then taken as it was at one moment; one that vanishes, or has no two equal
/// reads, is left out. Returns those that are left out, too.
pub fn pack_changing_files(
    root: BorrowedFd<'_>,
    tree: &mut FileTree,
    reading: &dyn Reading,
    target: &dyn Target,
    known: Packed,
    guard: &Guard<'_>,
    progress: &dyn Progress,
) -> Result<(Packed, Vec<Skipped>)> {
    let read = |tree: &FileTree, known, on_change| {
        let files = Files::new(root, tree, reading, guard, on_change)?;
        pack_supply(&files, target, known, progress)
    };
    let (mut packed, parts) = read(tree, known, OnChange::Mark)?;
    let mut changed = note_parts(tree, parts, &mut packed);
    let mut skipped = Vec::new();
    for (attempt, pause) in settle::PAUSES.iter().enumerate() {
        if changed.is_empty() {
            break;
        }
        std::thread::sleep(*pause);
        let (unread, gone) = settle::look_again(root, tree, reading, &changed)?;
        skipped.extend(gone);
        let is_last = attempt + 1 == settle::PAUSES.len();
        let on_change = if is_last {
            OnChange::Accept
        } else {
            OnChange::Mark
        };
        let (more, parts) = read(tree, packed, on_change)?;
        packed = more;
        changed = note_parts(tree, parts, &mut packed);
        if is_last {
            let differs =
                |node: &usize| !tree.is_left_out(*node) && !settle::is_same(root, tree, *node);
            changed = unread.into_iter().filter(differs).collect();
        }
    }
    for node in changed {
        skipped.push(Skipped {
            path: tree.os_path(node),
            what: settle::UNSTABLE,
        });
        if let NodeKind::File { content, .. } = &mut tree.nodes[node].kind {
            *content = FileContent::LeftOut;
        }
    }
    Ok((packed, skipped))
}

impl<'a> Files<'a> {
    fn new(
        root: BorrowedFd<'a>,
        tree: &'a FileTree,
        reading: &'a dyn Reading,
        guard: &'a Guard<'a>,
        on_change: OnChange,
    ) -> Result<Self> {
        Ok(Self {
            root,
            tree,
            reading,
            batches: batch::plan_batches(root, tree)?,
            watch: Watch::new(guard, tree),
            on_change,
        })
    }
}

/// Stores the chunks of a supply that are new; returns where all are, and what the parts of files
/// are made of, in their order.
pub(crate) fn pack_supply(
    supply: &dyn Supply,
    target: &dyn Target,
    known: Packed,
    progress: &dyn Progress,
) -> Result<(Packed, Vec<ReadPart>)> {
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let shared = PipelineShared {
        supply,
        target,
        progress,
        ahead: workers * AHEAD,
        feed: Mutex::new(Feed {
            next: 0,
            placed: 0,
            stop: false,
        }),
        fed: Condvar::new(),
        claimed: Mutex::new(known.chunks.keys().copied().collect()),
        refused: AtomicBool::new(false),
    };
    let (finished, from_workers) = bounded(workers * 2);
    let (full, to_upload) = bounded::<FinishedPack>(1);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(supply.at_most()) {
            let finished = finished.clone();
            scope.spawn(|| process_batches(&shared, finished));
        }
        drop(finished);
        let uploads: Vec<_> = (0..UPLOADS)
            .map(|_| {
                let to_upload = to_upload.clone();
                scope.spawn(|| upload_packs(&shared, to_upload))
            })
            .collect();
        drop(to_upload);
        let placed = place_batches(&shared, known, from_workers, full);
        shared.feed.lock().stop = true;
        shared.fed.notify_all();
        let mut outcome = placed;
        for upload in uploads {
            let stored = upload
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // The uploader's own failure is the cause; that nobody took the pack follows from it.
            if let Err(error) = stored {
                outcome = Err(error);
            }
        }
        outcome
    })
}

impl PipelineShared<'_> {
    /// The number of the next batch, when there may be one.
    fn turn(&self) -> Option<usize> {
        let mut feed = self.feed.lock();
        loop {
            if feed.stop || self.progress.cancelled() {
                return None;
            }
            if feed.next < feed.placed + self.ahead {
                feed.next += 1;
                return Some(feed.next - 1);
            }
            self.fed.wait(&mut feed);
        }
    }
}

fn process_batches(shared: &PipelineShared<'_>, finished: Sender<Result<(usize, FinishedBatch)>>) {
    let mut batches = shared.supply.reader();
    let mut buffer = Vec::new();
    let mut frames = match FrameBuilder::new() {
        Ok(frames) => frames,
        Err(error) => {
            let _ = finished.send(Err(Error::io("start", "compression")(error)));
            return;
        }
    };
    loop {
        let outcome = match batches.next(&|| shared.turn(), std::mem::take(&mut buffer)) {
            Ok(None) => return,
            Ok(Some((number, read))) => process_batch(shared, read, &mut buffer, &mut frames)
                .map(|finished| (number, finished)),
            Err(error) => Err(error),
        };
        let failed = outcome.is_err();
        // The receiver is gone when another worker has failed.
        if finished.send(outcome).is_err() || failed {
            return;
        }
    }
}

fn process_batch(
    shared: &PipelineShared<'_>,
    read: ReadBatch,
    buffer: &mut Vec<u8>,
    frames: &mut FrameBuilder,
) -> Result<FinishedBatch> {
    if read.parts.iter().any(ReadPart::is_refused) {
        shared.refused.store(true, Ordering::Relaxed);
    }
    let mut unique = Vec::new();
    if !shared.refused.load(Ordering::Relaxed) {
        let mut claimed = shared.claimed.lock();
        let stored = read.parts.iter().filter(|part| !part.is_left_out());
        for piece in stored.flat_map(|part| &part.pieces) {
            if let Some(id) = piece.id
                && claimed.insert(id)
            {
                unique.push((id, piece.bytes.clone()));
            }
        }
    }
    let ids: Vec<_> = unique.iter().map(|(id, _)| *id).collect();
    let known = if ids.is_empty() {
        Vec::new()
    } else {
        shared.target.lookup(&ids)?
    };
    let mut finished = FinishedBatch {
        frames: Vec::new(),
        found: Vec::new(),
        parts: Vec::new(),
    };
    let compress = Error::io("compress", "a frame");
    let mut built = Ok(());
    for ((id, bytes), known) in unique.into_iter().zip(known) {
        // A chunk of that name and another length is not the chunk.
        match known.filter(|known| known.holds(bytes.len())) {
            Some(indexed) => finished.found.push((id, indexed)),
            None => match frames.push(id, &read.buffer[bytes]) {
                Ok(frame) => finished.frames.extend(frame),
                Err(error) => built = Err(error),
            },
        }
    }
    built
        .and_then(|()| frames.finish())
        .map(|frame| finished.frames.extend(frame))
        .map_err(compress)?;
    *buffer = read.buffer;
    let files = read
        .parts
        .iter()
        .filter(|read| read.part.range.start == 0)
        .count() as u64;
    let bytes = read
        .parts
        .iter()
        .map(|read| read.part.range.end - read.part.range.start)
        .sum();
    finished.parts = read.parts;
    shared.progress.done(files, bytes);
    Ok(finished)
}

/// Lays finished batches into packs, in path order.
fn place_batches(
    shared: &PipelineShared<'_>,
    mut packed: Packed,
    finished: Receiver<Result<(usize, FinishedBatch)>>,
    full: Sender<FinishedPack>,
) -> Result<(Packed, Vec<ReadPart>)> {
    let mut parts = Vec::new();
    let mut waiting = BTreeMap::new();
    let mut writer = PackWriter::new();
    let mut next = 0;
    let send = |writer: PackWriter, packed: &mut Packed| {
        let pack = writer.finish();
        packed.new_packs.push(pack.pack);
        full.send(pack).map_err(|_| Error::Cancelled)
    };
    for outcome in finished {
        let (number, batch) = outcome?;
        waiting.insert(number, batch);
        while let Some(batch) = waiting.remove(&next) {
            next += 1;
            for frame in &batch.frames {
                let frame_location = writer.push(frame);
                let mut offset = 0;
                for &(id, length) in &frame.chunks {
                    let location = ChunkLocation {
                        frame: frame_location,
                        offset,
                        length,
                    };
                    packed.chunks.insert(id, location);
                    offset += length;
                    packed.new_raw += u64::from(length);
                }
                if writer.is_full() {
                    send(std::mem::take(&mut writer), &mut packed)?;
                }
            }
            for (id, indexed) in batch.found {
                packed.chunks.insert(id, indexed.location);
                packed.known_packs.insert(indexed.pack.id, indexed.pack);
            }
            parts.extend(batch.parts);
            shared.feed.lock().placed = next;
            shared.fed.notify_all();
        }
    }
    if !shared.supply.is_complete(next) {
        return Err(Error::Cancelled);
    }
    if !writer.is_empty() {
        send(writer, &mut packed)?;
    }
    Ok((packed, parts))
}

fn upload_packs(shared: &PipelineShared<'_>, packs: Receiver<FinishedPack>) -> Result<()> {
    for pack in packs {
        let bytes = pack.bytes.len() as u64;
        if let Err(error) = shared.target.put_pack(pack) {
            shared.feed.lock().stop = true;
            shared.fed.notify_all();
            return Err(error);
        }
        shared.progress.transferred(bytes);
    }
    Ok(())
}

/// Notes in the tree what its files are made of, and in `packed` what was found in them. Files that
/// changed while they were read stay unread, and are returned.
pub(crate) fn note_parts(
    tree: &mut FileTree,
    parts: Vec<ReadPart>,
    packed: &mut Packed,
) -> Vec<usize> {
    let changed: BTreeSet<usize> = parts
        .iter()
        .filter(|part| part.changed)
        .map(|part| part.part.node)
        .collect();
    for part in parts {
        if changed.contains(&part.part.node) {
            continue;
        }
        let node = &mut tree.nodes[part.part.node];
        let is_left_out = part.is_left_out();
        let findings = part.findings.into_iter();
        packed
            .findings
            .extend(findings.map(|finding| (part.part.node, finding)));
        if part.part.range.start == 0 {
            node.meta.xattrs = part.xattrs;
        }
        if let NodeKind::File { content, .. } = &mut node.kind {
            if is_left_out {
                *content = FileContent::LeftOut;
            }
            if *content == FileContent::Unread {
                *content = FileContent::Read(Vec::new());
            }
            if let FileContent::Read(pieces) = content {
                for piece in part.pieces {
                    match (pieces.last_mut(), piece.id) {
                        // A hole that reaches over the border of two parts.
                        (Some((None, hole)), None) => *hole += piece.length,
                        _ => pieces.push((piece.id, piece.length)),
                    }
                }
            }
        }
    }
    changed.into_iter().collect()
}
