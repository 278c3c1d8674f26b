//! Running futures concurrently.

use std::future::Future;

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, StreamExt as _};

/// The number of futures that run concurrently. The list often comes from a remote, such as the
/// records of a key, and each future may hold a response of some megabytes.
pub(crate) const WIDTH: usize = 64;

/// Runs all futures, [`WIDTH`] at a time, and returns their results in order. They run on the
/// caller's task, so a future must not block: disk reads and decoding run on blocking threads.
pub(crate) fn join_all<'a, T: Send + 'a>(
    futures: impl IntoIterator<Item = impl Future<Output = T> + Send + 'a>,
) -> impl Future<Output = Vec<T>> + Send + 'a {
    // Boxed, because the compiler cannot prove otherwise that a future is `Send` that holds an
    // iterator of borrowing futures (rust-lang/rust#102211).
    let futures: Vec<BoxFuture<'a, T>> = futures.into_iter().map(|future| future.boxed()).collect();
    stream::iter(futures).buffered(WIDTH).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[tokio::test]
    async fn however_many_there_are_few_run_at_a_time() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let futures = (0..1000).map(|number| {
            let (running, most) = (&running, &most);
            async move {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, SeqCst);
                number
            }
        });
        let results = join_all(futures).await;
        assert_eq!(results, (0..1000).collect::<Vec<_>>());
        assert!(most.load(SeqCst) <= WIDTH);
    }
}
