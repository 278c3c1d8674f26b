//! Writing the bytes of a file.

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::runtime::Handle;

use crate::error::{Error, Result};
use crate::frame::FrameLocation;
use crate::id::FrameHash;
use crate::local::FrameReader;
use crate::stack::{Ino, Stack};

/// Frames as one thread reads them: files that follow each other mostly lie in the same one.
pub(crate) struct FrameCursor<'a> {
    reader: &'a FrameReader,
    runtime: &'a Handle,
    last: Option<(FrameHash, Arc<Vec<u8>>)>,
}

impl<'a> FrameCursor<'a> {
    pub(crate) fn new(reader: &'a FrameReader, runtime: &'a Handle) -> Self {
        Self {
            reader,
            runtime,
            last: None,
        }
    }

    /// A frame's bytes, decoded.
    pub(crate) fn get(&mut self, frame: &FrameLocation) -> Result<Arc<Vec<u8>>> {
        if let Some((hash, raw)) = &self.last
            && *hash == frame.hash
        {
            return Ok(raw.clone());
        }
        let raw = match self.reader.local(frame) {
            Some(raw) => raw,
            None => self.runtime.block_on(self.reader.get(frame))?,
        };
        self.last = Some((frame.hash, raw.clone()));
        Ok(raw)
    }
}

/// Why content could not be written.
pub(super) enum ContentError {
    /// It could not be read.
    Read(Error),
    /// The file could not be written to.
    Write(Errno),
}

impl From<Error> for ContentError {
    fn from(error: Error) -> Self {
        Self::Read(error)
    }
}

/// Writes the pieces of a file that begin in `range` to a new, empty file; holes stay holes.
///
/// `size` is that of the whole file. `go_on` is asked before each frame.
pub(super) fn write_content(
    file: BorrowedFd<'_>,
    stack: &Stack,
    (ino, size): (Ino, u64),
    range: Range<u64>,
    frames: &mut FrameCursor<'_>,
    go_on: impl Fn() -> Result<()>,
) -> Result<(), ContentError> {
    let mut run: Option<FrameRun> = None;
    let (mut end, mut written) = (range.start, range.start);
    for piece in stack.pieces(ino, range.clone())? {
        let piece = piece?;
        // The piece that reaches into the range is written with the range it begins in.
        if piece.start >= range.start
            && let Some(at) = piece.location
        {
            let next = FrameRun {
                at: piece.start,
                frame: at.frame,
                bytes: at.offset..at.offset + at.length,
            };
            if let Some(run) = run.as_mut().filter(|run| run.is_followed_by(&next)) {
                run.bytes.end = next.bytes.end;
            } else if let Some(full) = run.replace(next) {
                go_on()?;
                full.write(file, frames)?;
            }
            written = piece.end;
        }
        end = piece.end;
    }
    if let Some(last) = run {
        last.write(file, frames)?;
    }
    if end < range.end {
        return Err(Error::damaged("a layer", "the pieces of a file do not match its size").into());
    }
    if range.end == size && written < size {
        // It ends with a hole.
        rustix::fs::ftruncate(file, size).map_err(ContentError::Write)?;
    }
    Ok(())
}

/// Bytes that lie side by side in the file and in a frame.
struct FrameRun {
    at: u64,
    frame: FrameLocation,
    bytes: Range<u32>,
}

impl FrameRun {
    fn is_followed_by(&self, next: &Self) -> bool {
        self.frame == next.frame
            && self.bytes.end == next.bytes.start
            && self.at + u64::from(self.bytes.end - self.bytes.start) == next.at
    }

    fn write(
        &self,
        file: BorrowedFd<'_>,
        frames: &mut FrameCursor<'_>,
    ) -> Result<(), ContentError> {
        let raw = frames.get(&self.frame)?;
        let mut rest = raw
            .get(self.bytes.start as usize..self.bytes.end as usize)
            .ok_or_else(|| Error::damaged("a layer", "a chunk exceeds its frame"))?;
        let mut at = self.at;
        while !rest.is_empty() {
            match rustix::io::pwrite(file, rest, at) {
                Ok(0) => return Err(ContentError::Write(Errno::IO)),
                Ok(length) => {
                    rest = &rest[length..];
                    at += length as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(ContentError::Write(errno)),
            }
        }
        Ok(())
    }
}
