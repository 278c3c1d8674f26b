//! Doing a few things at a time, with results handled as they come.

use std::future::Future;

use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::progress::Progress;

/// Runs the futures that `start` makes of `items`, at most `limit` at a time, and hands each
/// result to `finish`. The first failure ends it and aborts what is under way.
pub(crate) async fn for_each<I, F, T>(
    limit: usize,
    items: impl IntoIterator<Item = I>,
    progress: &dyn Progress,
    mut start: impl FnMut(I) -> F,
    mut finish: impl FnMut(T) -> Result<()>,
) -> Result<()>
where
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let mut items = items.into_iter();
    let mut running = JoinSet::new();
    loop {
        while running.len() < limit
            && let Some(item) = items.next()
        {
            running.spawn(start(item));
        }
        let Some(joined) = running.join_next().await else {
            return Ok(());
        };
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        finish(joined.unwrap_or_else(|error| propagate_panic(error))?)?;
    }
}

/// Runs something that computes for a while beside the requests.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| propagate_panic(error))
}

/// A task ends without a result when it panics, or when the runtime shuts down.
fn propagate_panic<T>(error: tokio::task::JoinError) -> Result<T> {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Err(Error::Cancelled),
    }
}
