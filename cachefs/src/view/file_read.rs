//! Reading a range of a file of a view, or of its image.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use cachefs_store::frame::FrameLocation;
use cachefs_store::id::FrameHash;
use cachefs_store::stack::Ino;
use cachefs_store::{Error, Result};
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::View;
use crate::erofs::ImageRange;

/// Number of frames that one read fetches and decodes concurrently. The memory of a read must not
/// depend on the number of frames over which a layer spreads its bytes.
const FRAMES: usize = 8;

/// Where the bytes of a piece are. Small: a layer may cut a file into pieces of one byte.
enum PieceSource {
    /// In the frame of this number, from this offset of its decoded bytes on.
    Frame(u32, u32),
    /// In the bytes of the plan, from this offset on.
    Bytes(u32),
    Zeros,
}

struct ReadPiece {
    length: u32,
    source: PieceSource,
}

/// A range, cut into pieces of frames and parts that need no frame.
#[derive(Default)]
pub(super) struct ReadPlan {
    pieces: Vec<ReadPiece>,
    /// The frames that it needs, each once.
    frames: Vec<FrameLocation>,
    numbers: HashMap<FrameHash, u32>,
    bytes: Vec<u8>,
    /// The files of the range, with the number of bytes of each.
    files: Vec<(Ino, u64)>,
}

impl ReadPlan {
    /// Finds where a range of a file is; it is clipped to the file.
    pub(super) fn of_file(view: &View, ino: Ino, offset: u64, size: u32) -> Result<Self> {
        let length = view.stack.attr(ino)?.size;
        let end = offset.saturating_add(u64::from(size)).min(length);
        let mut plan = Self::default();
        plan.add_file(view, ino, offset.min(end)..end)?;
        Ok(plan)
    }

    /// Finds where the parts of an image are.
    pub(super) fn of_image(view: &View, parts: Vec<ImageRange<'_>>) -> Result<Self> {
        let mut plan = Self::default();
        for part in parts {
            match part {
                ImageRange::Bytes(bytes) => {
                    let source = PieceSource::Bytes(plan.bytes.len() as u32);
                    plan.bytes.extend_from_slice(bytes);
                    plan.push(bytes.len() as u64, source);
                }
                ImageRange::Zeros(count) => plan.push(count, PieceSource::Zeros),
                ImageRange::File(ino, range) => plan.add_file(view, ino, range)?,
            }
        }
        Ok(plan)
    }

    /// `length` is at most that of the read, which is a `u32`.
    fn push(&mut self, length: u64, source: PieceSource) {
        let length = length as u32;
        self.pieces.push(ReadPiece { length, source });
    }

    fn add_file(&mut self, view: &View, ino: Ino, range: std::ops::Range<u64>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        self.files.push((ino, range.end - range.start));
        let mut at = range.start;
        for piece in view.stack.pieces(ino, range.clone())? {
            let piece = piece?;
            let (start, end) = (piece.start.max(at), piece.end.min(range.end));
            let source = match piece.location {
                Some(location) => {
                    let number = self.number(location.frame);
                    // Both lie within the frame.
                    let offset = location.offset + (start - piece.start) as u32;
                    PieceSource::Frame(number, offset)
                }
                None => PieceSource::Zeros,
            };
            self.push(end - start, source);
            at = end;
        }
        if at < range.end {
            return Err(Error::damaged("a file", "its pieces end before it does"));
        }
        Ok(())
    }

    fn number(&mut self, frame: FrameLocation) -> u32 {
        match self.numbers.entry(frame.hash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let number = self.frames.len() as u32;
                self.frames.push(frame);
                *new.insert(number)
            }
        }
    }

    /// The files of the range, with the number of bytes of each.
    pub(super) fn files(&self) -> impl Iterator<Item = (Ino, u64)> {
        self.files.iter().copied()
    }

    /// The frames that it needs, in the order in which it first does.
    pub(super) fn frames(&self) -> impl Iterator<Item = &FrameLocation> {
        self.frames.iter()
    }

    /// The number of a piece's frame.
    fn frame_of(piece: &ReadPiece) -> Option<u32> {
        match piece.source {
            PieceSource::Frame(number, _) => Some(number),
            _ => None,
        }
    }

    /// Reads the range if all of its bytes are local; otherwise returns `false`.
    pub(super) fn read_local(&self, view: &View, out: &mut Vec<u8>) -> Result<bool> {
        // Neighbours are in one frame more often than not.
        let mut last: Option<(u32, Arc<Vec<u8>>)> = None;
        for piece in &self.pieces {
            if let Some(number) = Self::frame_of(piece)
                && last.as_ref().is_none_or(|(last, _)| *last != number)
            {
                match view.reader.local(&self.frames[number as usize]) {
                    Some(frame) => last = Some((number, frame)),
                    None => return Ok(false),
                }
            }
            self.append(piece, last.as_ref().map(|(_, frame)| &**frame), out)?;
        }
        Ok(true)
    }

    /// Reads the range, from the remote where it must be.
    pub(super) async fn read(&self, view: &View) -> Result<Vec<u8>> {
        let mut numbers: Vec<u32> = self.pieces.iter().filter_map(Self::frame_of).collect();
        numbers.dedup();
        let mut reads = numbers.into_iter().map(|number| {
            let (reader, frame) = (view.reader.clone(), self.frames[number as usize]);
            let read = async move { reader.get_noting(&frame).await };
            let read = tokio::spawn(read.in_current_span());
            (number, read)
        });
        let mut ahead = InFlightFrames(reads.by_ref().take(FRAMES).collect());
        let length = self.pieces.iter().map(|piece| piece.length as usize).sum();
        let mut out = Vec::with_capacity(length);
        let mut last: Option<(u32, Arc<Vec<u8>>)> = None;
        for piece in &self.pieces {
            if let Some(number) = Self::frame_of(piece)
                && last.as_ref().is_none_or(|(last, _)| *last != number)
            {
                // It is given up before the next one is waited for.
                drop(last.take());
                let Some((number, read)) = ahead.0.pop_front() else {
                    return Err(Error::Cancelled);
                };
                let (raw, awaited) = read.await.map_err(|_| Error::Cancelled)??;
                if awaited {
                    view.reads.awaited(self.frames[number as usize].hash);
                }
                last = Some((number, raw));
                ahead.0.extend(reads.next());
            }
            self.append(piece, last.as_ref().map(|(_, frame)| &**frame), &mut out)?;
        }
        Ok(out)
    }

    /// Appends a piece's bytes; `frame` is the decoded frame that they are in, if they are in one.
    fn append(&self, piece: &ReadPiece, frame: Option<&Vec<u8>>, out: &mut Vec<u8>) -> Result<()> {
        let length = piece.length as usize;
        match piece.source {
            PieceSource::Bytes(first) => {
                let first = first as usize;
                out.extend_from_slice(&self.bytes[first..first + length]);
            }
            PieceSource::Zeros => out.resize(out.len() + length, 0),
            PieceSource::Frame(_, offset) => {
                let first = offset as usize;
                let bytes = frame
                    .and_then(|frame| frame.get(first..first + length))
                    .ok_or_else(|| Error::damaged("a frame", "a chunk exceeds it"))?;
                out.extend_from_slice(bytes);
            }
        }
        Ok(())
    }
}

/// Frames that are being read, in the order in which they are needed. Those that nobody waits for
/// any more are given up.
struct InFlightFrames(VecDeque<(u32, JoinHandle<Read>)>);

/// A decoded frame, and whether it had to be waited for.
type Read = Result<(Arc<Vec<u8>>, bool)>;

impl Drop for InFlightFrames {
    fn drop(&mut self) {
        for (_, read) in &self.0 {
            read.abort();
        }
    }
}
