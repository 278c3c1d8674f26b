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
use cachefs_store::frame::FrameLocation;
use cachefs_store::local::FrameReader;
use cachefs_store::stack::{Ino, Stack};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;

/// Bytes of a spooled file that are read at once.
const BLOCK: usize = 256 << 10;
/// Number of frames that are fetched and decoded ahead of the client: 2 MiB, enough to keep both
/// the network and a decoder busy, and little enough for 64 clients.
const FRAMES_AHEAD: usize = 8;
/// Blocks that wait for the client.
const BLOCKS_AHEAD: usize = 2;

/// The tree of a key, as one of its saves left it.
pub(super) struct Snapshot {
    pub(super) stack: Stack,
    pub(super) reader: FrameReader,
}

/// The content of one file.
pub(super) enum Content {
    /// It is in the spool.
    Spooled {
        /// The open file.
        file: File,
        /// Its size in bytes.
        size: u64,
    },
    /// It has been saved.
    Stored {
        /// The tree that holds it.
        snapshot: Arc<Snapshot>,
        /// The file.
        ino: Ino,
        /// Its size in bytes.
        size: u64,
    },
}

impl Content {
    /// The size in bytes.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Spooled { size, .. } | Self::Stored { size, .. } => *size,
        }
    }

    /// Reads all of it into memory. The caller has checked the size.
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
        }
        ContentBody { blocks, left }
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
            // The client is gone.
            break;
        }
    }
    Ok(())
}

/// A run of bytes: of a frame from an offset on, or zeros.
struct ContentRun {
    length: u64,
    frame: Option<(FrameLocation, usize)>,
}

async fn send_stored(
    snapshot: &Snapshot,
    ino: Ino,
    range: Range<u64>,
    sender: &BlockSender,
) -> Result<(), Error> {
    let runs = find_runs(snapshot, ino, range)?;
    let mut frames: Vec<FrameLocation> = runs.iter().filter_map(|run| Some(run.frame?.0)).collect();
    frames.dedup();
    let mut reads = frames.into_iter().map(|frame| {
        let reader = snapshot.reader.clone();
        tokio::spawn(async move { (frame, reader.get(&frame).await) })
    });
    let mut ahead: VecDeque<_> = reads.by_ref().take(FRAMES_AHEAD).collect();
    let mut current: Option<(FrameLocation, Bytes)> = None;
    for run in runs {
        let block = match run.frame {
            None => Bytes::from(vec![0; run.length as usize]),
            Some((location, offset)) => {
                if current
                    .as_ref()
                    .is_none_or(|(loaded, _)| *loaded != location)
                {
                    let next = ahead.pop_front().ok_or(Error::Cancelled)?;
                    let (loaded, raw) = next.await.map_err(|_| Error::Cancelled)?;
                    current = Some((loaded, Bytes::from_owner(SharedFrame(raw?))));
                    ahead.extend(reads.next());
                }
                let raw = current.as_ref().map(|(_, raw)| raw);
                let end = offset + run.length as usize;
                raw.filter(|raw| end <= raw.len())
                    .map(|raw| raw.slice(offset..end))
                    .ok_or_else(|| Error::damaged("a frame", "a chunk ends after it"))?
            }
        };
        if sender.send(Ok(block)).await.is_err() {
            break;
        }
    }
    for read in ahead {
        read.abort();
    }
    Ok(())
}

/// The runs of a range, in order. Neighbouring chunks of one frame are one run.
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
        return Err(Error::damaged("a file", "its pieces end before it does"));
    }
    Ok(runs)
}

/// A decoded frame, as the owner of bytes that are sent.
struct SharedFrame(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedFrame {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A body that streams content. If reading fails, the connection ends before the announced length,
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
