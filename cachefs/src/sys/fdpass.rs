//! Frames with descriptors over a Unix stream socket.
//!
//! ```text
//! u32 LE   length of the header     at most MAX_HEADER
//! u32 LE   length of the payload    at most MAX_PAYLOAD
//! header   what the caller wrote (JSON)
//! payload  bytes
//! ```
//!
//! Up to [`MAX_FDS`] descriptors travel with the first byte of a frame (`SCM_RIGHTS`). After any
//! error, drop the connection: the two ends may disagree about the start of the next frame.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use thiserror::Error;

/// The longest header of a request, in bytes: a client that the daemon does not trust makes it
/// allocate no more.
pub const MAX_HEADER: usize = 1 << 20;
/// The longest payload, and the longest header of a reply, in bytes: a reply may list the layers and
/// files of a large cache, and the daemon is trusted.
pub const MAX_PAYLOAD: usize = 256 << 20;
/// The most descriptors that one frame carries.
pub const MAX_FDS: usize = 8;

const PREFIX: usize = 8;

/// Space for the descriptors of one frame; the kernel reports if there were more.
const CONTROL_SPACE: usize = cmsg_space!(ScmRights(MAX_FDS));

/// A received frame.
#[derive(Debug)]
pub struct SocketFrame {
    /// The header as the peer wrote it.
    pub header: Vec<u8>,
    /// The bytes behind it.
    pub payload: Vec<u8>,
    /// The descriptors, close-on-exec, in the order in which they were sent.
    pub fds: Vec<OwnedFd>,
}

/// Why a frame could not be sent or received.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The peer went away in the middle of a frame, or does not read any more.
    #[error("the peer closed the connection")]
    PeerClosed,
    /// A part is longer than frames may be. When sending, nothing was sent.
    #[error("the frame's {part} has {length} bytes, {limit} are allowed")]
    TooLarge {
        /// `header` or `payload`.
        part: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The most bytes it may have.
        limit: usize,
    },
    /// The frame has more than [`MAX_FDS`] descriptors.
    #[error("the frame carries more than {MAX_FDS} descriptors")]
    TooManyDescriptors,
    /// The socket's time limit passed.
    #[error("the peer did not respond in time")]
    TimedOut,
    /// The socket failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
}

impl From<Errno> for FrameError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Self::PeerClosed,
            Errno::AGAIN => Self::TimedOut,
            other => Self::Io(other.into()),
        }
    }
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            None => Self::Io(error),
        }
    }
}

/// Sends one frame, waiting as long as the socket's write timeout allows.
///
/// The descriptors stay open here; the peer gets its own.
///
/// # Errors
/// [`FrameError`]. A peer that closed gives [`FrameError::PeerClosed`], never a signal.
pub fn send_frame(
    socket: &UnixStream,
    header: &[u8],
    payload: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<(), FrameError> {
    check_length("header", header.len(), MAX_HEADER)?;
    send_reply(socket, header, payload, fds)
}

/// As [`send_frame`], with a header of up to [`MAX_PAYLOAD`] bytes.
///
/// # Errors
/// [`FrameError`].
pub fn send_reply(
    socket: &UnixStream,
    header: &[u8],
    payload: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<(), FrameError> {
    let prefix = encode_prefix(header.len(), payload.len())?;
    if fds.len() > MAX_FDS {
        return Err(FrameError::TooManyDescriptors);
    }
    let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(FrameError::TooManyDescriptors);
    }
    let mut parts: [&[u8]; 3] = [&prefix, header, payload];
    while parts.iter().any(|part| !part.is_empty()) {
        let slices = parts.map(IoSlice::new);
        let sent = match sendmsg(socket, &slices, &mut control, SendFlags::NOSIGNAL) {
            Ok(sent) => sent,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        // Some bytes were sent, and the descriptors with the first of them.
        control.clear();
        skip_sent(&mut parts, sent);
    }
    Ok(())
}

/// Receives one frame, or `None` when the peer has closed between two frames.
///
/// Waits as long as the socket's read timeout allows. Lengths are checked before anything is
/// allocated, and memory grows only as bytes arrive.
///
/// # Errors
/// [`FrameError`].
pub fn receive_frame(socket: &UnixStream) -> Result<Option<SocketFrame>, FrameError> {
    recv_within(socket, &Bounds::default())
}

/// As [`receive_frame`], with a header of up to [`MAX_PAYLOAD`] bytes.
///
/// # Errors
/// [`FrameError`].
pub fn receive_reply(socket: &UnixStream) -> Result<Option<SocketFrame>, FrameError> {
    let bounds = Bounds {
        header: MAX_PAYLOAD,
        ..Bounds::default()
    };
    recv_within(socket, &bounds)
}

/// Limits for the size and time of a peer's frame. The defaults are those of all frames and the
/// socket's read timeout.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The longest header, in bytes; at most [`MAX_PAYLOAD`].
    pub header: usize,
    /// The longest payload, in bytes; at most [`MAX_PAYLOAD`].
    pub payload: usize,
    /// The most descriptors; at most [`MAX_FDS`].
    pub fds: usize,
    /// How long the first byte may take; `None` for ever.
    pub begin: Option<Duration>,
    /// How long the rest of the frame may take after it; `None` for ever.
    pub finish: Option<Duration>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            header: MAX_HEADER,
            payload: MAX_PAYLOAD,
            fds: MAX_FDS,
            begin: None,
            finish: None,
        }
    }
}

/// As [`receive_frame`], from a peer that is not trusted to send little, or to send it soon.
///
/// The time is that of the whole frame, however many pieces it comes in. The socket's read timeout
/// is changed.
///
/// # Errors
/// [`FrameError`]; [`FrameError::TimedOut`] when it takes too long.
pub fn recv_within(
    socket: &UnixStream,
    bounds: &Bounds,
) -> Result<Option<SocketFrame>, FrameError> {
    let mut prefix = [0u8; PREFIX];
    let mut filled = 0;
    let mut fds = Vec::new();
    let mut timed = DeadlineSocket {
        socket,
        deadline: bounds.begin.map(|time| Instant::now() + time),
    };
    let is_timed = bounds.begin.is_some() || bounds.finish.is_some();
    while filled < PREFIX {
        if is_timed {
            timed.prepare()?;
        }
        let received = recv_some(socket, &mut prefix[filled..], &mut fds, bounds.fds)?;
        if filled == 0 && received > 0 {
            // An idle connection may wait for a request for long, but a request that has begun must
            // finish soon: otherwise a slow peer would occupy a thread.
            timed.deadline = bounds.finish.map(|time| Instant::now() + time);
        }
        if received == 0 {
            return if filled == 0 {
                Ok(None)
            } else {
                Err(FrameError::PeerClosed)
            };
        }
        filled += received;
    }
    let (header_length, payload_length) = decode_prefix(prefix, bounds)?;
    // A plain read drops descriptors that come with later bytes, where none are allowed.
    let (header, payload) = match is_timed {
        true => (
            read_exactly(&mut timed, header_length)?,
            read_exactly(&mut timed, payload_length)?,
        ),
        false => (
            read_exactly(&mut &*socket, header_length)?,
            read_exactly(&mut &*socket, payload_length)?,
        ),
    };
    Ok(Some(SocketFrame {
        header,
        payload,
        fds,
    }))
}

/// A socket that is read until a deadline.
struct DeadlineSocket<'a> {
    socket: &'a UnixStream,
    deadline: Option<Instant>,
}

impl DeadlineSocket<'_> {
    /// Has the next read wait no longer than the deadline.
    fn prepare(&self) -> io::Result<()> {
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(Errno::AGAIN.into());
        }
        self.socket.set_read_timeout(left)
    }
}

impl Read for DeadlineSocket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.prepare()?;
        let mut socket = self.socket;
        socket.read(buffer)
    }
}

fn recv_some(
    socket: &UnixStream,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
    max_fds: usize,
) -> Result<usize, FrameError> {
    let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    // Never more than eight: those of a peer that may send one are closed again below.
    let received = loop {
        let mut slices = [IoSliceMut::new(buffer)];
        match recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    // The kernel closed the descriptors that did not fit; dropping `fds` closes the others.
    if received.flags.contains(ReturnFlags::CTRUNC) || fds.len() > max_fds {
        return Err(FrameError::TooManyDescriptors);
    }
    Ok(received.bytes)
}

fn read_exactly(socket: &mut impl Read, length: usize) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::new();
    let read = socket
        .by_ref()
        .take(length as u64)
        .read_to_end(&mut bytes)?;
    if read < length {
        Err(FrameError::PeerClosed)
    } else {
        Ok(bytes)
    }
}

fn encode_prefix(header: usize, payload: usize) -> Result<[u8; PREFIX], FrameError> {
    let header = check_length("header", header, MAX_PAYLOAD)? as u32;
    let payload = check_length("payload", payload, MAX_PAYLOAD)? as u32;
    let mut prefix = [0; PREFIX];
    prefix[..4].copy_from_slice(&header.to_le_bytes());
    prefix[4..].copy_from_slice(&payload.to_le_bytes());
    Ok(prefix)
}

fn decode_prefix(prefix: [u8; PREFIX], bounds: &Bounds) -> Result<(usize, usize), FrameError> {
    let [a, b, c, d, e, f, g, h] = prefix;
    let header = u32::from_le_bytes([a, b, c, d]) as usize;
    let payload = u32::from_le_bytes([e, f, g, h]) as usize;
    Ok((
        check_length("header", header, bounds.header)?,
        check_length("payload", payload, bounds.payload)?,
    ))
}

fn check_length(part: &'static str, length: usize, limit: usize) -> Result<usize, FrameError> {
    if length > limit {
        Err(FrameError::TooLarge {
            part,
            length,
            limit,
        })
    } else {
        Ok(length)
    }
}

fn skip_sent(parts: &mut [&[u8]], mut count: usize) {
    for part in parts {
        let step = count.min(part.len());
        *part = &part[step..];
        count -= step;
    }
}

#[cfg(test)]
mod tests;
