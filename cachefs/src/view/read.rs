//! Reading a range of a file of a view, or of its image.

use std::sync::Arc;

use cachefs_store::frame::{ChunkLocation, FrameLocation};
use cachefs_store::stack::Ino;
use cachefs_store::{Error, Result};

use super::View;
use crate::erofs::Part;

/// Where the bytes of a piece are.
enum Source {
    /// From this offset of a decoded frame on.
    Frame(ChunkLocation, u64),
    Bytes(Vec<u8>),
    Zeros,
}

struct Piece {
    length: usize,
    source: Source,
}

/// A range, cut into pieces of frames and what needs no frame.
#[derive(Default)]
pub(super) struct Plan {
    pieces: Vec<Piece>,
    /// The files that it is about, with so many bytes of each.
    files: Vec<(Ino, u64)>,
}

impl Plan {
    /// Finds where a range of a file is; it is clipped to the file.
    pub(super) fn of_file(view: &View, ino: Ino, offset: u64, size: u32) -> Result<Self> {
        let length = view.stack.attr(ino)?.size;
        let end = offset.saturating_add(u64::from(size)).min(length);
        let mut plan = Self::default();
        plan.add_file(view, ino, offset.min(end)..end)?;
        Ok(plan)
    }

    /// Finds where the parts of an image are.
    pub(super) fn of_image(view: &View, parts: Vec<Part<'_>>) -> Result<Self> {
        let mut plan = Self::default();
        for part in parts {
            match part {
                Part::Bytes(bytes) => plan.push(bytes.len(), Source::Bytes(bytes.to_vec())),
                Part::Zeros(count) => plan.push(count as usize, Source::Zeros),
                Part::File(ino, range) => plan.add_file(view, ino, range)?,
            }
        }
        Ok(plan)
    }

    fn push(&mut self, length: usize, source: Source) {
        self.pieces.push(Piece { length, source });
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
                    let offset = u64::from(location.offset) + (start - piece.start);
                    Source::Frame(location, offset)
                }
                None => Source::Zeros,
            };
            self.push((end - start) as usize, source);
            at = end;
        }
        if at < range.end {
            return Err(Error::damaged("a file", "its pieces end before it does"));
        }
        Ok(())
    }

    /// The files that it is about, with so many bytes of each.
    pub(super) fn files(&self) -> impl Iterator<Item = (Ino, u64)> {
        self.files.iter().copied()
    }

    /// The frames that it needs, in order; neighbours in one frame give it twice.
    pub(super) fn frames(&self) -> impl Iterator<Item = &FrameLocation> {
        self.pieces.iter().filter_map(|piece| match &piece.source {
            Source::Frame(location, _) => Some(&location.frame),
            _ => None,
        })
    }

    /// Reads the range if no byte of it needs the network; `false` otherwise.
    pub(super) fn read_local(&self, view: &View, out: &mut Vec<u8>) -> Result<bool> {
        // Neighbours are in one frame more often than not.
        let mut last: Option<(ChunkLocation, Arc<Vec<u8>>)> = None;
        for piece in &self.pieces {
            let frame = match &piece.source {
                Source::Frame(location, _) => match &last {
                    Some((before, frame)) if before.frame.hash == location.frame.hash => {
                        Some(frame)
                    }
                    _ => match view.reader.local(&location.frame) {
                        Some(frame) => Some(&last.insert((*location, frame)).1),
                        None => return Ok(false),
                    },
                },
                _ => None,
            };
            piece.append(frame, out)?;
        }
        Ok(true)
    }

    /// Reads the range, from the remote where it must be.
    pub(super) async fn read(&self, view: &View) -> Result<Vec<u8>> {
        let mut frames = tokio::task::JoinSet::new();
        let mut before = None;
        for (number, piece) in self.pieces.iter().enumerate() {
            if let Source::Frame(location, _) = piece.source {
                if before == Some(location.frame.hash) {
                    continue;
                }
                before = Some(location.frame.hash);
                let reader = view.reader.clone();
                frames.spawn(async move { (number, reader.get_noting(&location.frame).await) });
            }
        }
        let mut found = vec![None; self.pieces.len()];
        while let Some(frame) = frames.join_next().await {
            let (number, frame) = frame.map_err(|_| Error::Cancelled)?;
            let (raw, awaited) = frame?;
            if let (true, Source::Frame(location, _)) = (awaited, &self.pieces[number].source) {
                view.reads.awaited(location.frame.hash);
            }
            found[number] = Some(raw);
        }
        let mut out = Vec::with_capacity(self.pieces.iter().map(|piece| piece.length).sum());
        let mut last = None;
        for (piece, frame) in self.pieces.iter().zip(found) {
            last = frame.or(last);
            piece.append(last.as_ref(), &mut out)?;
        }
        Ok(out)
    }
}

impl Piece {
    /// Appends its bytes; `frame` is the decoded frame that they are in, if they are in one.
    fn append(&self, frame: Option<&Arc<Vec<u8>>>, out: &mut Vec<u8>) -> Result<()> {
        match &self.source {
            Source::Bytes(bytes) => out.extend_from_slice(bytes),
            Source::Zeros => out.resize(out.len() + self.length, 0),
            Source::Frame(_, offset) => {
                let first = *offset as usize;
                let bytes = frame
                    .and_then(|frame| frame.get(first..first + self.length))
                    .ok_or_else(|| Error::damaged("a frame", "a chunk reaches beyond it"))?;
                out.extend_from_slice(bytes);
            }
        }
        Ok(())
    }
}
