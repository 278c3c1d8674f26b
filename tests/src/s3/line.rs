//! A simulated network link between client and server: latency, bandwidth and byte counters.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

/// Timer lateness that the link compensates, so that late wakeups do not reduce the bandwidth.
const SLACK: Duration = Duration::from_millis(10);
/// How far a sender may be ahead of the link, as if buffered in a socket.
const BUFFER: Duration = Duration::from_millis(3);

/// Latency, bandwidth and counters shared by all connections of a server.
#[derive(Debug, Default)]
pub(super) struct Line {
    latency_micros: AtomicU64,
    /// Bytes per second; 0 is unlimited.
    bandwidth: AtomicU64,
    requests: Direction,
    answers: Direction,
}

/// One direction of the link.
#[derive(Debug, Default)]
struct Direction {
    bytes: AtomicU64,
    /// When the bytes sent so far have been transmitted.
    free_at: Mutex<Option<Instant>>,
}

/// The sender of a body.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sender {
    Client,
    Server,
}

impl Line {
    pub(super) fn set_latency(&self, latency: Duration) {
        self.latency_micros
            .store(latency.as_micros() as u64, Ordering::Relaxed);
    }

    pub(super) fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_micros.load(Ordering::Relaxed))
    }

    pub(super) fn set_bandwidth(&self, bytes_per_second: Option<u64>) {
        self.bandwidth
            .store(bytes_per_second.unwrap_or(0), Ordering::Relaxed);
    }

    /// Bytes from clients and to clients.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let bytes = |direction: &Direction| direction.bytes.load(Ordering::Relaxed);
        (bytes(&self.requests), bytes(&self.answers))
    }

    pub(super) fn reset_bytes(&self) {
        self.requests.bytes.store(0, Ordering::Relaxed);
        self.answers.bytes.store(0, Ordering::Relaxed);
    }

    /// Counts the bytes sent now. Returns their arrival time if the sender has to wait for it.
    fn send(&self, sender: Sender, bytes: usize) -> Option<Instant> {
        let direction = match sender {
            Sender::Client => &self.requests,
            Sender::Server => &self.answers,
        };
        direction.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let width = match self.bandwidth.load(Ordering::Relaxed) {
            0 => return None,
            width => width,
        };
        let now = Instant::now();
        let mut free_at = direction.free_at.lock();
        // A timer may fire up to `SLACK` late; count that time as if the link had been busy.
        let start = free_at.map_or(now, |free| free.max(now.checked_sub(SLACK).unwrap_or(now)));
        let end = start + Duration::from_secs_f64(bytes as f64 / width as f64);
        *free_at = Some(end);
        // Do not delay small pieces, up to the amount that a socket buffer would hold.
        (end > now + BUFFER).then_some(end)
    }
}

/// A body that is sent at the speed of the link.
pub(super) struct OverLine<B> {
    body: B,
    sender: Sender,
    line: Arc<Line>,
    arriving: Option<(Pin<Box<Sleep>>, Bytes)>,
}

impl<B> OverLine<B> {
    pub(super) fn new(body: B, sender: Sender, line: Arc<Line>) -> Self {
        Self {
            body,
            sender,
            line,
            arriving: None,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for OverLine<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.arriving.is_none() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            };
            match self.line.send(self.sender, data.len()) {
                None => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(time) => self.arriving = Some((Box::pin(sleep_until(time)), data)),
            }
        }
        if let Some((sleep, _)) = &mut self.arriving {
            ready!(sleep.as_mut().poll(cx));
        }
        let data = self.arriving.take().map(|(_, data)| Ok(Frame::data(data)));
        Poll::Ready(data)
    }

    fn is_end_stream(&self) -> bool {
        self.arriving.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.arriving {
            None => self.body.size_hint(),
            // The remainder is not known exactly here. In practice hyper asks only before the first
            // frame.
            Some(_) => SizeHint::default(),
        }
    }
}
