//! Reading a range of a file of a view.

use std::sync::Arc;

use cachefs_store::layer::ContentPiece;
use cachefs_store::stack::Ino;
use cachefs_store::{Error, Result};

use super::View;

/// A range of a file, cut into pieces of frames and holes.
pub(super) struct Plan {
    range: std::ops::Range<u64>,
    pieces: Vec<ContentPiece>,
}

/// Finds where a range is; it is clipped to the file.
pub(super) fn plan(view: &View, ino: Ino, offset: u64, size: u32) -> Result<Plan> {
    let length = view.stack.attr(ino)?.size;
    let range = offset.min(length)..(offset.saturating_add(u64::from(size))).min(length);
    let pieces = if range.is_empty() {
        Vec::new()
    } else {
        view.stack.pieces(ino, range.clone())?.collect::<Result<Vec<_>>>()?
    };
    Ok(Plan { range, pieces })
}

impl Plan {
    /// Appends the part of a decoded frame that a piece gives.
    fn take(&self, piece: &ContentPiece, frame: Option<&Arc<Vec<u8>>>, out: &mut Vec<u8>) -> Result<()> {
        let start = piece.start.max(self.range.start);
        let end = piece.end.min(self.range.end);
        match (&piece.location, frame) {
            (Some(location), Some(frame)) => {
                let first = u64::from(location.offset) + (start - piece.start);
                let bytes = frame
                    .get(first as usize..(first + (end - start)) as usize)
                    .ok_or_else(|| Error::damaged("a frame", "a chunk reaches beyond it"))?;
                out.extend_from_slice(bytes);
            }
            _ => out.resize(out.len() + (end - start) as usize, 0),
        }
        Ok(())
    }

    /// Reads the range if no byte of it needs the network; `false` otherwise.
    pub(super) fn read_local(&self, view: &View, out: &mut Vec<u8>) -> Result<bool> {
        for piece in &self.pieces {
            let frame = match &piece.location {
                None => None,
                Some(location) => match view.reader.local(&location.frame) {
                    Some(frame) => Some(frame),
                    None => return Ok(false),
                },
            };
            self.take(piece, frame.as_ref(), out)?;
        }
        Ok(true)
    }

    /// Reads the range, from the remote where it must be.
    pub(super) async fn read(&self, view: &View) -> Result<Vec<u8>> {
        let mut frames = tokio::task::JoinSet::new();
        for (number, piece) in self.pieces.iter().enumerate() {
            if let Some(location) = piece.location {
                let reader = view.reader.clone();
                frames.spawn(async move { (number, reader.get(&location.frame).await) });
            }
        }
        let mut found = vec![None; self.pieces.len()];
        while let Some(frame) = frames.join_next().await {
            let (number, frame) = frame.map_err(|_| Error::Cancelled)?;
            found[number] = Some(frame?);
        }
        let mut out = Vec::with_capacity((self.range.end - self.range.start) as usize);
        for (piece, frame) in self.pieces.iter().zip(&found) {
            self.take(piece, frame.as_ref(), &mut out)?;
        }
        Ok(out)
    }
}
