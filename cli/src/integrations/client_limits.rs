//! Limits for clients of a service's socket: their number, and the idle time of each.

use std::sync::Arc;
use std::time::Duration;

use cachefs::sys::limits::raise_descriptors;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Idle timeout after the first request: engines and kubelet keep connections open for reuse.
const NEXT: Duration = Duration::from_secs(300);
/// Maximum number of concurrent clients. Engines use one connection per request in flight, and keep
/// it open for some minutes.
const MOST: usize = 512;
/// Clients may use 1/`PART` of the process's file descriptors; the rest is for their requests.
const PART: u64 = 4;

/// The clients of one socket.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    room: Arc<Semaphore>,
    first: Duration,
}

/// A connected client; it counts against the limit until dropped.
#[derive(Debug)]
pub(crate) struct Client {
    first: Duration,
    state: watch::Sender<State>,
    _room: OwnedSemaphorePermit,
}

/// State of a client's requests.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Number of requests in progress.
    answering: usize,
    /// Whether the client has sent a complete request.
    has_asked: bool,
}

impl Clients {
    /// Starts with no clients; each has `first` to send its first complete request. Raises the
    /// process's limit of file descriptors.
    pub(crate) fn new(first: Duration) -> Self {
        let part = usize::try_from(raise_descriptors() / PART).unwrap_or(MOST);
        Self::at_most(part.clamp(1, MOST), first)
    }

    fn at_most(most: usize, first: Duration) -> Self {
        Self {
            room: Arc::new(Semaphore::new(most)),
            first,
        }
    }

    /// Admits a client; `None` if there are too many.
    pub(crate) fn admit(&self) -> Option<Arc<Client>> {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            tracing::warn!("rejected a client: too many are connected");
            return None;
        };
        Some(Arc::new(Client {
            first: self.first,
            state: watch::Sender::default(),
            _room: room,
        }))
    }
}

impl Client {
    /// Records that a complete request arrived. It is in progress until the result is dropped.
    pub(crate) fn answer(self: &Arc<Self>) -> Answering {
        self.state.send_modify(|state| {
            state.answering += 1;
            state.has_asked = true;
        });
        Answering(Arc::clone(self))
    }

    /// Waits until the client has been idle for too long. A client with an incomplete request is
    /// idle, however many bytes of it arrive.
    pub(crate) async fn is_silent(&self) {
        self.is_silent_for(NEXT).await;
    }

    async fn is_silent_for(&self, next: Duration) {
        let mut state = self.state.subscribe();
        loop {
            let now = *state.borrow_and_update();
            let limit = match now.has_asked {
                true => next,
                false => self.first,
            };
            // The client owns the sender, so the channel stays open.
            if now.answering > 0 {
                let _ = state.changed().await;
            } else if tokio::time::timeout(limit, state.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// A request in progress.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Client>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.answering -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(1);
    const NEVER: Duration = Duration::from_secs(1 << 20);

    #[test]
    fn one_client_too_many_is_turned_away_until_another_one_goes() {
        let clients = Clients::at_most(2, SOON);
        let first = clients.admit().unwrap();
        let _second = clients.admit().unwrap();
        assert!(clients.admit().is_none());
        drop(first);
        assert!(clients.admit().is_some());
    }

    #[tokio::test]
    async fn a_client_is_silent_unless_it_is_answered() {
        let client = Clients::at_most(1, SOON).admit().unwrap();
        client.is_silent_for(NEVER).await;
        let answering = client.answer();
        let silent = client.is_silent_for(SOON);
        tokio::pin!(silent);
        let still = tokio::time::timeout(SOON * 20, &mut silent).await;
        assert!(still.is_err(), "its request is being answered");
        drop(answering);
        silent.await;
        // After the first request, the longer timeout applies.
        let silent = client.is_silent_for(NEVER);
        assert!(tokio::time::timeout(SOON * 20, silent).await.is_err());
    }
}
