//! Work for a client that may leave.

use std::time::Duration;

use crate::error::Result;

/// How often to check whether the client still waits.
const CHECK_EVERY: Duration = Duration::from_millis(200);

/// Runs work and drops it when its client has disconnected: requests in flight end, and no more are
/// sent.
pub(super) async fn unless_gone<T>(
    is_gone: &dyn Fn() -> bool,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let gone = async {
        while !is_gone() {
            tokio::time::sleep(CHECK_EVERY).await;
        }
    };
    tokio::select! {
        done = work => done,
        () = gone => Err(cachefs_store::Error::Cancelled.into()),
    }
}
