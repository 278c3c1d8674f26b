//! Content of a namespace, and the bodies that stream it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use cachefs_store::Error;
use cachefs_store::archive::TarLayout;
use cachefs_store::frame::FrameLocation;
use cachefs_store::layer::mode;
use cachefs_store::local::FrameReader;
use cachefs_store::stack::Ino;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::snapshot::Snapshot;

/// Number of bytes to send at once.
const BLOCK: usize = 256 << 10;
/// Number of frames that are fetched and decoded ahead of the client: 2 MiB. That keeps both the
/// network and a decoder busy, and uses little memory for 64 clients.
const FRAMES_AHEAD: usize = 8;
/// Number of blocks that wait for the client.
const BLOCKS_AHEAD: usize = 2;

/// The content of one file.
pub(super) enum Content {
    /// In the spool.
    Spooled {
        /// The open file.
        file: File,
        /// Its size in bytes.
        size: u64,
    },
    /// Saved in a tree.
    Stored {
        /// The tree that contains it.
        snapshot: Arc<Snapshot>,
        /// The file.
        ino: Ino,
        /// Its size in bytes.
        size: u64,
    },
    /// A tar archive, saved in separate parts.
    TakenApart(TakenApart),
}

impl Content {
    /// The size in bytes.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Spooled { size, .. } | Self::Stored { size, .. } => *size,
            Self::TakenApart(archive) => archive.layout.size(),
        }
    }

    /// Reads all of it into memory. The caller must have checked the size.
    pub(super) async fn read(self) -> Result<Vec<u8>, Error> {
        let size = self.size();
        let mut blocks = self.stream(0..size);
        let mut bytes = Vec::with_capacity(size as usize);
        while let Some(block) = blocks.blocks.recv().await {
            bytes.extend_from_slice(&block?);
        }
        Ok(bytes)
    }

    /// Streams a range that is within the content.
    pub(super) fn stream(self, range: Range<u64>) -> ContentBody {
        let (sender, blocks) = mpsc::channel(BLOCKS_AHEAD);
        let left = range.end - range.start;
        match self {
            Self::Spooled { file, .. } => {
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = send_file(&file, range, &sender) {
                        let _ = sender.blocking_send(Err(error));
                    }
                });
            }
            Self::Stored { snapshot, ino, .. } => {
                tokio::spawn(async move {
                    if let Err(error) = send_stored(&snapshot, ino, range, &sender).await {
                        let _ = sender.send(Err(error)).await;
                    }
                });
            }
            Self::TakenApart(archive) => {
                tokio::spawn(async move {
                    if let Err(error) = send_archive(&archive, range, &sender).await {
                        let _ = sender.send(Err(error)).await;
                    }
                });
            }
        }
        ContentBody { blocks, left }
    }
}

impl Snapshot {
    /// Finds a file in the tree.
    pub(super) fn find_file(self: &Arc<Self>, name: &str) -> Result<Option<Content>, Error> {
        let Some(ino) = self.stack.find(name.as_bytes())? else {
            return Ok(None);
        };
        let attr = self.stack.attr(ino)?;
        Ok((attr.kind() == mode::FILE).then(|| Content::Stored {
            snapshot: Arc::clone(self),
            ino,
            size: attr.size,
        }))
    }
}

type BlockSender = mpsc::Sender<Result<Bytes, Error>>;

fn send_file(file: &File, range: Range<u64>, sender: &BlockSender) -> Result<(), Error> {
    let mut at = range.start;
    while at < range.end {
        let mut block = vec![0; BLOCK.min((range.end - at) as usize)];
        file.read_exact_at(&mut block, at)
            .map_err(Error::io("read", "a spooled file"))?;
        at += block.len() as u64;
        if sender.blocking_send(Ok(block.into())).is_err() {
            // The client disconnected.
            break;
        }
    }
    Ok(())
}

/// A run of bytes: part of a frame, or zeros.
struct ContentRun {
    length: u64,
    frame: Option<(FrameLocation, usize)>,
}

/// A frame that is being fetched and decoded.
type FrameRead = JoinHandle<(FrameLocation, Result<Arc<Vec<u8>>, Error>)>;

/// Reads a range of a stored file in order, and fetches frames ahead.
struct StoredReader {
    reader: FrameReader,
    runs: std::vec::IntoIter<ContentRun>,
    /// The current run, without the bytes that were read already.
    run: Option<ContentRun>,
    frames: std::vec::IntoIter<FrameLocation>,
    ahead: VecDeque<FrameRead>,
    current: Option<(FrameLocation, Arc<Vec<u8>>)>,
}

impl StoredReader {
    fn new(snapshot: &Snapshot, ino: Ino, range: Range<u64>) -> Result<Self, Error> {
        let runs = find_runs(snapshot, ino, range)?;
        let mut frames: Vec<_> = runs.iter().filter_map(|run| Some(run.frame?.0)).collect();
        frames.dedup();
        Ok(Self {
            reader: snapshot.reader.clone(),
            runs: runs.into_iter(),
            run: None,
            frames: frames.into_iter(),
            ahead: VecDeque::new(),
            current: None,
        })
    }

    /// Appends the next `length` bytes; the range must contain them.
    async fn append(&mut self, mut length: u64, out: &mut Vec<u8>) -> Result<(), Error> {
        while length > 0 {
            let run = match self.run.take() {
                Some(run) => run,
                None => self.runs.next().ok_or_else(ends_early)?,
            };
            let taken = run.length.min(length);
            match run.frame {
                None => out.resize(out.len() + taken as usize, 0),
                Some((location, offset)) => {
                    let raw = self.load(location).await?;
                    let bytes = raw.get(offset..offset + taken as usize);
                    out.extend_from_slice(bytes.ok_or_else(ends_early)?);
                }
            }
            length -= taken;
            if taken < run.length {
                self.run = Some(ContentRun {
                    length: run.length - taken,
                    frame: run
                        .frame
                        .map(|(frame, offset)| (frame, offset + taken as usize)),
                });
            }
        }
        Ok(())
    }

    /// Loads a frame, which must be the current one or the next one needed.
    async fn load(&mut self, location: FrameLocation) -> Result<&[u8], Error> {
        let is_loaded = self
            .current
            .as_ref()
            .is_some_and(|(loaded, _)| *loaded == location);
        if !is_loaded {
            while self.ahead.len() < FRAMES_AHEAD
                && let Some(frame) = self.frames.next()
            {
                let reader = self.reader.clone();
                let read = async move { (frame, reader.get(&frame).await) };
                self.ahead.push_back(tokio::spawn(read));
            }
            let next = self.ahead.pop_front().ok_or(Error::Cancelled)?;
            let (loaded, raw) = next.await.map_err(|_| Error::Cancelled)?;
            self.current = Some((loaded, raw?));
        }
        Ok(self.current.as_ref().map_or(&[], |(_, raw)| raw.as_slice()))
    }
}

impl Drop for StoredReader {
    fn drop(&mut self) {
        for read in &self.ahead {
            read.abort();
        }
    }
}

fn ends_early() -> Error {
    Error::damaged("a file", "its pieces end before it does")
}

/// Collects bytes into blocks for the client.
struct BlockWriter<'a> {
    block: Vec<u8>,
    sender: &'a BlockSender,
}

impl BlockWriter<'_> {
    /// Copies bytes from a reader; returns `false` if the client disconnected.
    async fn copy(&mut self, reader: &mut StoredReader, mut length: u64) -> Result<bool, Error> {
        while length > 0 {
            let room = (BLOCK - self.block.len()) as u64;
            let taken = length.min(room);
            reader.append(taken, &mut self.block).await?;
            length -= taken;
            if self.block.len() == BLOCK && !self.flush().await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn flush(&mut self) -> bool {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        block.is_empty() || self.sender.send(Ok(block.into())).await.is_ok()
    }
}

async fn send_stored(
    snapshot: &Snapshot,
    ino: Ino,
    range: Range<u64>,
    sender: &BlockSender,
) -> Result<(), Error> {
    let length = range.end - range.start;
    let mut reader = StoredReader::new(snapshot, ino, range)?;
    let mut blocks = BlockWriter {
        block: Vec::with_capacity(BLOCK),
        sender,
    };
    if blocks.copy(&mut reader, length).await? {
        blocks.flush().await;
    }
    Ok(())
}

/// A tar archive whose headers and contents are separate files.
pub(super) struct TakenApart {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) headers: Ino,
    pub(super) contents: Ino,
    pub(super) layout: TarLayout,
}

async fn send_archive(
    archive: &TakenApart,
    range: Range<u64>,
    sender: &BlockSender,
) -> Result<(), Error> {
    let parts = archive.layout.parts_of(&range);
    let snapshot = &archive.snapshot;
    let mut headers = StoredReader::new(snapshot, archive.headers, parts.headers)?;
    let mut contents = StoredReader::new(snapshot, archive.contents, parts.contents)?;
    let mut blocks = BlockWriter {
        block: Vec::with_capacity(BLOCK),
        sender,
    };
    for segment in parts.segments {
        let sent = blocks.copy(&mut headers, segment.header).await?
            && blocks.copy(&mut contents, segment.content).await?;
        if !sent {
            return Ok(());
        }
    }
    blocks.flush().await;
    Ok(())
}

/// The runs of a range, in order. Adjacent chunks of a frame are merged.
fn find_runs(snapshot: &Snapshot, ino: Ino, range: Range<u64>) -> Result<Vec<ContentRun>, Error> {
    let mut runs: Vec<ContentRun> = Vec::new();
    let mut at = range.start;
    if range.is_empty() {
        return Ok(runs);
    }
    for piece in snapshot.stack.pieces(ino, range.clone())? {
        let piece = piece?;
        let (start, end) = (piece.start.max(at), piece.end.min(range.end));
        let frame = piece.location.map(|location| {
            let offset = u64::from(location.offset) + (start - piece.start);
            (location.frame, offset as usize)
        });
        let length = end - start;
        at = end;
        match (runs.last_mut(), frame) {
            (Some(last), Some((frame, offset)))
                if last.frame.is_some_and(|(of_last, first)| {
                    of_last == frame && first + last.length as usize == offset
                }) =>
            {
                last.length += length;
            }
            _ => runs.push(ContentRun { length, frame }),
        }
    }
    if at < range.end {
        return Err(ends_early());
    }
    Ok(runs)
}

/// A body that streams content. If a read fails, the connection closes before the announced length,
/// so that the client notices.
pub(super) struct ContentBody {
    blocks: mpsc::Receiver<Result<Bytes, Error>>,
    left: u64,
}

impl Body for ContentBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.blocks.poll_recv(context).map(|block| {
            block.map(|block| {
                let block =
                    block.inspect_err(|error| tracing::warn!("a blob cannot be read: {error}"))?;
                self.left = self.left.saturating_sub(block.len() as u64);
                Ok(Frame::data(block))
            })
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The body of an answer.
pub(super) type AnswerBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Error>;

/// A body of bytes in memory.
pub(super) fn full_body(bytes: impl Into<Bytes>) -> AnswerBody {
    use http_body_util::BodyExt as _;
    http_body_util::Full::new(bytes.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}
