//! Turns the bytes of files into packs in the remote.
//!
//! Workers take batches in path order and do the expensive work: read, hash, look up, compress.
//! Their results are put back in order, written into packs, and stored by a few uploaders. A worker
//! may run only a few batches ahead, so memory is bounded: about 16 MiB a worker, and 32 MiB for
//! each pack that is being stored.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex};

use super::batch::{ReadBatch, ReadPart};
use super::target::Target;
use crate::error::{Error, Result};
use crate::frame::{BuiltFrame, ChunkLocation, FrameBuilder};
use crate::id::{ChunkId, PackId};
use crate::index::Indexed;
use crate::pack::{FinishedPack, PackRef, PackWriter};
use crate::progress::Progress;
use crate::secrets::SecretFinding;

/// Number of packs that are stored at the same time. Each holds up to 32 MiB in memory.
const UPLOADS: usize = 4;
/// Number of batches per worker that may be under way or wait for an earlier one. One slow batch, such
/// as that of a huge file, then does not stop the other workers at once.
const AHEAD: usize = 4;

/// Where everything is after [`pack_supply`].
#[derive(Debug, Default)]
pub(crate) struct Packed {
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
    pub(crate) fn new_bytes(&self) -> u64 {
        self.new_packs
            .iter()
            .map(|pack| u64::from(pack.length))
            .sum()
    }
}

/// The result of a worker for one batch.
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
    /// Upper bound for the number of batches.
    fn at_most(&self) -> usize;

    /// A way to the batches for one worker.
    fn reader(&self) -> Box<dyn ReadBatches + '_>;

    /// Whether these are all batches.
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

/// Stores the new chunks of a supply. Returns the locations of all chunks, and the chunks of each
/// file part in order.
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
    // One full pack waits while each uploader stores one, so a slow remote stops the workers
    // instead of filling the memory.
    let (full, to_upload) = bounded::<FinishedPack>(1);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(supply.at_most()) {
            let finished = finished.clone();
            scope.spawn(|| process_batches(&shared, finished));
        }
        // The channel must end with the last worker, or the placer would wait for ever.
        drop(finished);
        let uploads: Vec<_> = (0..UPLOADS)
            .map(|_| {
                let to_upload = to_upload.clone();
                scope.spawn(|| upload_packs(&shared, to_upload))
            })
            .collect();
        drop(to_upload);
        let placed = place_batches(&shared, known, from_workers, full);
        // Workers may still wait for their turn, if the placer has failed.
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
            // The placer keeps finished batches until all earlier ones have arrived. This bounds
            // their number.
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
        // Relaxed is enough: a worker that sees the flag late only stores chunks that no record
        // will reference.
        shared.refused.store(true, Ordering::Relaxed);
    }
    let mut unique = Vec::new();
    if !shared.refused.load(Ordering::Relaxed) {
        let mut claimed = shared.claimed.lock();
        let stored = read.parts.iter().filter(|part| !part.is_left_out());
        for piece in stored.flat_map(|part| &part.pieces) {
            // Claimed before it is looked up: two workers that have the same chunk at the same time
            // would both find it missing, and store it twice.
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
    // A large file has several parts; the first one counts for the file.
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
        // Workers finish in any order. In path order, files that lie together come to lie together in
        // packs, and the same tree gives the same packs.
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
            // Wakes workers that were too far ahead.
            shared.feed.lock().placed = next;
            shared.fed.notify_all();
        }
    }
    // The workers end early when they are cancelled, or when an upload has failed.
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
        // After a failed upload nothing can be published, so the workers stop reading files, too.
        if let Err(error) = shared.target.put_pack(pack) {
            shared.feed.lock().stop = true;
            shared.fed.notify_all();
            return Err(error);
        }
        shared.progress.transferred(bytes);
    }
    Ok(())
}
