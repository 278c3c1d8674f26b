//! Finding a frame wherever it is: in memory, on the local disk, or in the remote.

mod streaming;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::Instrument as _;

use super::cache::{Mirror, PackCache};
use super::memory::FrameMemory;
use super::pack_files::PackFiles;
use super::recent_failures::Failures;
use crate::error::{Error, Result};
use crate::frame::{self, FrameLocation};
use crate::id::{FrameHash, PackId};
use crate::pack::{self, PackRef};
use crate::parallel::run_blocking;
use crate::remote::{DynRemote, RemoteErrorKind, RemoteId};

/// A miss right behind the range fetched last doubles the range, up to this.
const MAX_AHEAD: u64 = 8 << 20;
/// The first range that is fetched ahead.
const FIRST_AHEAD: u64 = 1 << 20;
/// Statistics of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReadStats {
    /// Frames decoded from local bytes.
    pub local_frames: u64,
    /// Stored bytes fetched from the remote because a read waited for them.
    pub demand_bytes: u64,
    /// Stored bytes fetched ahead or in the background.
    pub prefetch_bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    local_frames: AtomicU64,
    demand_bytes: AtomicU64,
    prefetch_bytes: AtomicU64,
}

/// `Ok` with the bytes from the range's start, or the message of the failure.
type Outcome = Option<std::result::Result<Bytes, Arc<Error>>>;

/// Ranges of one pack that are being fetched, and where the last one ended.
#[derive(Debug, Default)]
struct Flights {
    ranges: Vec<(Range<u64>, watch::Receiver<Outcome>)>,
    /// End of the range fetched last, and how much was fetched ahead there.
    sequence: (u64, u64),
}

/// Reads frames of one remote. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct FrameReader {
    inner: Arc<Inner>,
}

struct Inner {
    remote: DynRemote,
    /// Which remote it is: nothing of another one is served.
    id: RemoteId,
    /// The remote's own directory, when it is one on a local disk.
    in_place: Option<PackFiles>,
    cache: Mirror,
    memory: FrameMemory,
    flights: Mutex<HashMap<PackId, Flights>>,
    /// Number of flights that have landed; changed under the lock of `flights`.
    landed: AtomicU64,
    /// Where the frames of a pack end; nothing is fetched ahead in a pack that is not listed.
    ends: RwLock<HashMap<PackId, u64>>,
    /// Frames that could not be had a moment ago.
    failures: Failures,
    /// Number of reads that wait for the remote; background work stands back for them.
    waiting: AtomicUsize,
    counters: Counters,
}

impl std::fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameReader")
            .field("remote", &self.inner.remote.url())
            .finish_non_exhaustive()
    }
}

/// Why a frame is not there yet.
enum AbsentFrame {
    Missing,
    Damaged(Error),
}

impl FrameReader {
    /// Reads frames of `remote`; keeps fetched bytes in `cache`, and decoded frames in `memory`.
    pub fn new(remote: DynRemote, cache: Arc<PackCache>, memory: FrameMemory) -> Self {
        let in_place = remote.local_dir().map(PackFiles::new);
        let id = remote.id();
        Self {
            inner: Arc::new(Inner {
                remote,
                id,
                in_place,
                cache: cache.of(id),
                memory,
                flights: Mutex::default(),
                landed: AtomicU64::new(0),
                failures: Failures::default(),
                ends: RwLock::default(),
                waiting: AtomicUsize::new(0),
                counters: Counters::default(),
            }),
        }
    }

    /// The remote that frames come from.
    pub fn remote(&self) -> &DynRemote {
        &self.inner.remote
    }

    /// Says where the frames of packs end, so that their bytes can be fetched ahead.
    pub fn describe(&self, packs: impl IntoIterator<Item = PackRef>) {
        let ends = packs
            .into_iter()
            .map(|pack| (pack.id, u64::from(pack.trailer)));
        self.inner.ends.write().extend(ends);
    }

    /// Statistics so far.
    pub fn stats(&self) -> ReadStats {
        let counters = &self.inner.counters;
        ReadStats {
            local_frames: counters.local_frames.load(Relaxed),
            demand_bytes: counters.demand_bytes.load(Relaxed),
            prefetch_bytes: counters.prefetch_bytes.load(Relaxed),
        }
    }

    /// A decoded frame, if it can be had without the network. Blocks for a disk read and for
    /// decoding, so async code calls [`Self::get`].
    pub fn local(&self, frame: &FrameLocation) -> Option<Arc<Vec<u8>>> {
        self.inner
            .memory
            .get_or_read(self.inner.id, &frame.hash, || self.inner.read_disk(frame))
            .ok()
    }

    /// A decoded frame.
    ///
    /// Concurrent readers of one frame, or of frames in one range, share a request.
    pub async fn get(&self, frame: &FrameLocation) -> Result<Arc<Vec<u8>>> {
        self.get_noting(frame).await.map(|(raw, _)| raw)
    }

    /// A decoded frame, and whether it had to be waited for because it was not on this machine.
    pub async fn get_noting(&self, frame: &FrameLocation) -> Result<(Arc<Vec<u8>>, bool)> {
        let landed = self.inner.landed.load(Acquire);
        if let Some(raw) = self.read_local(frame).await? {
            return Ok((raw, false));
        }
        if let Some(error) = self.inner.failures.recent(frame) {
            return Err(error);
        }
        self.wait_for(frame, landed)
            .await
            .map(|raw| (raw, true))
            .map_err(|error| {
                // The remote itself sent other bytes, twice where it is not a local directory.
                if error.is_damaged() {
                    self.inner.cache.lost_packs().add_damaged(&frame.pack);
                }
                self.inner.failures.note(frame, error)
            })
    }

    /// As [`Self::local`], on a thread that may block.
    async fn read_local(&self, frame: &FrameLocation) -> Result<Option<Arc<Vec<u8>>>> {
        let (reader, frame) = (self.clone(), *frame);
        run_blocking(move || Ok(reader.local(&frame))).await
    }

    /// Waits for a frame that was not on this machine when `landed` flights had finished.
    async fn wait_for(&self, frame: &FrameLocation, landed: u64) -> Result<Arc<Vec<u8>>> {
        let _waiting = Waiting::new(&self.inner.waiting);
        if self.inner.in_place.is_none() {
            let raw = self.fetched(frame, landed).await;
            if !matches!(raw, Err(Error::Damaged { .. })) {
                return raw;
            }
            tracing::warn!("{} arrived damaged and is fetched once more", frame.pack);
        }
        let stored = self.request(&frame.pack, frame.range()).await?;
        self.inner
            .counters
            .demand_bytes
            .fetch_add(stored.len() as u64, Relaxed);
        self.admit(frame, stored).await
    }

    /// Verifies and decodes a frame, which takes up to a few milliseconds, on a thread that may
    /// block.
    async fn admit(&self, frame: &FrameLocation, stored: Bytes) -> Result<Arc<Vec<u8>>> {
        let (reader, frame) = (self.clone(), *frame);
        run_blocking(move || {
            let raw = frame::decode_frame(&stored, &frame.hash, frame.codec, frame.raw)?;
            let raw = Arc::new(raw);
            let inner = &reader.inner;
            inner.memory.insert(inner.id, frame.hash, raw.clone());
            Ok(raw)
        })
        .await
    }

    async fn request(&self, pack: &PackId, range: Range<u64>) -> Result<Bytes> {
        match self
            .inner
            .remote
            .get_range(&pack::object_key(pack), range)
            .await
        {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == RemoteErrorKind::NotFound => {
                self.inner.cache.note_lost(pack);
                Err(Error::Lost {
                    what: format!("pack {pack}"),
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Fetches a range that covers the frame, or waits for one that is on its way.
    async fn fetched(&self, frame: &FrameLocation, mut landed: u64) -> Result<Arc<Vec<u8>>> {
        let wanted = frame.range();
        let (start, mut outcome) = loop {
            match self.join_flight(&frame.pack, wanted.clone(), landed) {
                Ok(flight) => break flight,
                Err(now) => landed = now,
            }
            if let Some(raw) = self.read_local(frame).await? {
                return Ok(raw);
            }
        };
        let landed = outcome
            .wait_for(Option::is_some)
            .await
            .map(|outcome| outcome.clone());
        match landed {
            Ok(Some(Ok(bytes))) => {
                let from = (wanted.start - start) as usize;
                let to = from + frame.stored as usize;
                if to > bytes.len() {
                    return Err(Error::damaged(
                        format!("pack {}", frame.pack),
                        "it is shorter than its frames",
                    ));
                }
                self.admit(frame, bytes.slice(from..to)).await
            }
            // A range fetched ahead may fail for bytes that nobody asked for; the frame itself is
            // then asked for by the caller. Its own failure is the one to report.
            _ => {
                let stored = self.request(&frame.pack, wanted).await?;
                self.inner
                    .counters
                    .demand_bytes
                    .fetch_add(stored.len() as u64, Relaxed);
                self.keep_fetched(frame.pack, frame.offset, stored.clone())
                    .await?;
                self.admit(frame, stored).await
            }
        }
    }

    /// Joins the flight that fetches a range, or starts one, and returns it with its start. If a
    /// flight has landed since the caller looked for the range, the range may be here already: then
    /// the error is the number of landed flights.
    fn join_flight(
        &self,
        pack: &PackId,
        wanted: Range<u64>,
        landed: u64,
    ) -> std::result::Result<(u64, watch::Receiver<Outcome>), u64> {
        let mut flights = self.inner.flights.lock();
        let flights = flights.entry(*pack).or_default();
        if let Some((range, outcome)) = flights
            .ranges
            .iter()
            .find(|(range, _)| range.start <= wanted.start && wanted.end <= range.end)
        {
            return Ok((range.start, outcome.clone()));
        }
        match self.inner.landed.load(Relaxed) {
            now if now != landed => return Err(now),
            _ => {}
        }
        let (last, ahead) = flights.sequence;
        let follows =
            last.saturating_sub(FIRST_AHEAD) <= wanted.start && wanted.start <= last + FIRST_AHEAD;
        let ahead = if follows && last > 0 {
            (ahead * 2).clamp(FIRST_AHEAD, MAX_AHEAD)
        } else {
            0
        };
        let end = self.inner.ends.read().get(pack).copied().unwrap_or(0);
        let range = wanted.start..wanted.end.max(end.min(wanted.end + ahead));
        flights.sequence = (range.end, ahead);
        let outcome = self.launch(*pack, range.clone(), wanted.end - wanted.start);
        flights.ranges.push((range.clone(), outcome.clone()));
        Ok((range.start, outcome))
    }

    /// Starts fetching a range. The fetch continues if the reader that started it is cancelled,
    /// because others may wait for it.
    fn launch(&self, pack: PackId, range: Range<u64>, demand: u64) -> watch::Receiver<Outcome> {
        let (sender, receiver) = watch::channel(None);
        let reader = self.clone();
        let flight = async move {
            let mut fetched = reader.request(&pack, range.clone()).await;
            if let Ok(bytes) = &fetched {
                // Readers look at the local disk once the flight has landed, so it lands after this.
                let start = range.start as u32;
                let kept = reader.keep_fetched(pack, start, bytes.clone()).await;
                let counters = &reader.inner.counters;
                counters
                    .demand_bytes
                    .fetch_add(demand.min(bytes.len() as u64), Relaxed);
                counters
                    .prefetch_bytes
                    .fetch_add(bytes.len() as u64 - demand.min(bytes.len() as u64), Relaxed);
                if let Err(error) = kept {
                    fetched = Err(error);
                }
            }
            sender.send_replace(Some(fetched.map_err(Arc::new)));
            let mut flights = reader.inner.flights.lock();
            if let Some(flights) = flights.get_mut(&pack) {
                flights.ranges.retain(|(flying, _)| *flying != range);
            }
            reader.inner.landed.fetch_add(1, Release);
        };
        tokio::spawn(flight.in_current_span());
        receiver
    }

    /// Writes fetched bytes to the local disk, on a thread that may block. Failing to write them is
    /// only a warning; the error is that the runtime shuts down.
    async fn keep_fetched(&self, pack: PackId, offset: u32, bytes: Bytes) -> Result<()> {
        if self.inner.in_place.is_some() {
            return Ok(());
        }
        let reader = self.clone();
        run_blocking(move || {
            reader.keep(&pack, offset, &bytes);
            Ok(())
        })
        .await
    }

    fn keep(&self, pack: &PackId, offset: u32, bytes: &[u8]) {
        if self.inner.in_place.is_some() {
            return;
        }
        if let Err(error) = self.inner.cache.write(pack, offset, bytes) {
            // The bytes are in hand; without the local copy they are fetched again next time.
            tracing::warn!("fetched bytes of pack {pack} can't be kept: {error}");
        }
    }

    /// Takes the stored bytes of a frame that came with something else. They have its hash.
    pub fn keep_frame(&self, frame: &FrameLocation, stored: &[u8]) {
        self.inner
            .counters
            .prefetch_bytes
            .fetch_add(stored.len() as u64, Relaxed);
        self.keep(&frame.pack, frame.offset, stored);
    }

    /// Whether a frame's bytes seem to be on the local disk. They are looked at, and not verified.
    pub fn is_at_hand(&self, frame: &FrameLocation) -> bool {
        self.inner.in_place.is_some()
            || self
                .inner
                .cache
                .has(&frame.pack, frame.offset, frame.stored)
    }

    /// The stored bytes of a frame, if they are on the local disk and intact.
    pub fn stored(&self, frame: &FrameLocation) -> Option<Vec<u8>> {
        self.inner
            .cache
            .read(&frame.pack, frame.offset, frame.stored)
            .filter(|stored| FrameHash::of(stored) == frame.hash)
    }
}

impl Inner {
    fn read_disk(&self, frame: &FrameLocation) -> Result<Arc<Vec<u8>>, AbsentFrame> {
        let stored = match &self.in_place {
            Some(files) => match files.read(&frame.pack, frame.offset, frame.stored) {
                Ok(stored) => stored,
                Err(error) => {
                    tracing::warn!("pack {} can't be read: {error}", frame.pack);
                    None
                }
            },
            None => self.cache.read(&frame.pack, frame.offset, frame.stored),
        };
        let stored = stored.ok_or(AbsentFrame::Missing)?;
        let raw = frame::decode_frame(&stored, &frame.hash, frame.codec, frame.raw)
            .map_err(AbsentFrame::Damaged);
        if let Err(AbsentFrame::Damaged(error)) = &raw {
            tracing::debug!("a local copy is not used: {error}");
        }
        self.counters.local_frames.fetch_add(1, Relaxed);
        raw.map(Arc::new)
    }
}

/// Counts a read that waits, for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
