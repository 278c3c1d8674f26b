//! Work for a client that may leave.

use std::time::Duration;

use crate::error::Result;

/// How often to check whether the client still waits.
const CHECK_EVERY: Duration = Duration::from_millis(200);

/// Does work, and drops it when the client for whom it is has gone: requests under way end, and no
/// more are made.
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
