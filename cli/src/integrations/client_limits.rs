//! Bounds for the clients of a service's socket: how many there are, and how long each may be
//! silent.

use std::sync::Arc;
use std::time::Duration;

use cachefs::sys::limits::raise_descriptors;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// How long it may take for each request after that: engines and kubelet keep connections for
/// later.
const NEXT: Duration = Duration::from_secs(300);
/// Largest number of concurrent clients. Engines have one connection for each request in flight,
/// and one for some minutes afterwards.
const MOST: usize = 512;
/// Clients may use one `PART`th of the process's descriptors; the rest is for their requests.
const PART: u64 = 4;

/// The clients of one socket.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    room: Arc<Semaphore>,
    first: Duration,
}

/// A connected client, until it is dropped.
#[derive(Debug)]
pub(crate) struct Client {
    first: Duration,
    state: watch::Sender<State>,
    _room: OwnedSemaphorePermit,
}

/// Requests of a client.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Requests that are being answered.
    answering: usize,
    /// Whether there was a whole request.
    has_asked: bool,
}

impl Clients {
    /// None yet; each may take `first` for its first whole request. Raises the number of
    /// descriptors that the process may have.
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

    /// One more client; `None` when there are too many.
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
    /// Notes that a request is there as a whole, and is answered until the result is dropped.
    pub(crate) fn answer(self: &Arc<Self>) -> Answering {
        self.state.send_modify(|state| {
            state.answering += 1;
            state.has_asked = true;
        });
        Answering(Arc::clone(self))
    }

    /// Waits until the client has been silent for too long. An incomplete request counts as
    /// silence, however many bytes of it arrive.
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
            // The sender is this client's own, so there is always another change to wait for.
            if now.answering > 0 {
                let _ = state.changed().await;
            } else if tokio::time::timeout(limit, state.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// A request that is being answered.
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
        // The first request has come, so the longer limit counts.
        let silent = client.is_silent_for(NEVER);
        assert!(tokio::time::timeout(SOON * 20, silent).await.is_err());
    }
}
