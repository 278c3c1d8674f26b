//! The content of an object, streamed in large pieces.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use s3s::dto::{Range, StreamingBlob};

/// Bytes per read.
const PIECE: u64 = 128 << 10;

/// A range of a file.
///
/// `s3s-fs` reads 4 KiB at a time on a thread pool, which costs more CPU than the whole client and
/// distorts benchmarks that run on the same machine. We read synchronously instead; that blocks
/// only as long as a copy from the page cache.
struct Content {
    file: File,
    left: u64,
}

/// Streams `length` bytes of a file, from the start of the range.
pub(super) fn content(
    path: &Path,
    range: Option<&Range>,
    length: u64,
) -> io::Result<StreamingBlob> {
    let mut file = File::open(path)?;
    file.seek(match range {
        None => SeekFrom::Start(0),
        Some(Range::Int { first, .. }) => SeekFrom::Start(*first),
        Some(Range::Suffix { .. }) => {
            SeekFrom::Start(file.metadata()?.len().saturating_sub(length))
        }
    })?;
    let body = s3s::Body::http_body_unsync(Content { file, left: length });
    Ok(StreamingBlob::from(body))
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; self.left.min(PIECE) as usize];
        Poll::Ready(Some(self.file.read_exact(&mut piece).map(|()| {
            self.left -= piece.len() as u64;
            Frame::data(piece.into())
        })))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
