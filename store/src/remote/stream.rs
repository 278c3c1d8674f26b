//! An object as a stream of bytes, for readers that go through it once.

use std::collections::VecDeque;
use std::io::{self, Read};

use bytes::{Buf, Bytes};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::{DynRemote, ObjectKey, RemoteError};
use crate::error::Error;

/// Bytes of one request.
const PIECE: u64 = 8 << 20;
/// Number of requests in flight ahead of the reader.
const AHEAD: usize = 3;

/// Reads an object from its beginning to its end, a few pieces ahead.
///
/// Blocks, and must be read outside of the runtime. A failure of the remote comes as an
/// [`io::Error`] that holds an [`Error`].
#[derive(Debug)]
pub struct ObjectStream {
    remote: DynRemote,
    key: ObjectKey,
    runtime: Handle,
    size: u64,
    asked: u64,
    coming: VecDeque<JoinHandle<Result<Bytes, RemoteError>>>,
    current: Bytes,
}

impl ObjectStream {
    /// Finds the object.
    pub fn open(remote: DynRemote, key: ObjectKey, runtime: Handle) -> Result<Self, RemoteError> {
        let size = runtime.block_on(remote.head(&key))?.size;
        Ok(Self {
            remote,
            key,
            runtime,
            size,
            asked: 0,
            coming: VecDeque::new(),
            current: Bytes::new(),
        })
    }

    /// The object's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn ask(&mut self) {
        while self.coming.len() < AHEAD && self.asked < self.size {
            let range = self.asked..self.size.min(self.asked + PIECE);
            self.asked = range.end;
            let (remote, key) = (self.remote.clone(), self.key.clone());
            let piece = async move { remote.get_range(&key, range).await };
            self.coming.push_back(self.runtime.spawn(piece));
        }
    }
}

impl Read for ObjectStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            self.ask();
            let Some(next) = self.coming.pop_front() else {
                return Ok(0);
            };
            self.current = self
                .runtime
                .block_on(next)
                .map_err(io::Error::other)?
                .map_err(|error| io::Error::other(Error::from(error)))?;
            self.ask();
        }
        let length = buffer.len().min(self.current.len());
        buffer[..length].copy_from_slice(&self.current[..length]);
        self.current.advance(length);
        Ok(length)
    }
}

impl Drop for ObjectStream {
    fn drop(&mut self) {
        for piece in &self.coming {
            piece.abort();
        }
    }
}
