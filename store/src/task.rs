//! Running futures side by side.

use std::future::Future;

use tokio::task::JoinSet;

/// The number of futures that run at a time. The list often comes from a remote, such as the
/// records of a key, and each future may occupy a thread (a read of a directory remote) and a
/// response of some megabytes.
pub(crate) const WIDTH: usize = 64;

/// Runs all futures on the runtime, [`WIDTH`] at a time, and returns their results in order.
///
/// Must be called within a tokio runtime. Dropping the returned future aborts those under way.
pub(crate) async fn join_all<F>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let waiting: Vec<F> = futures.into_iter().collect();
    let mut results: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    let mut waiting = waiting.into_iter().enumerate();
    let mut running = JoinSet::new();
    loop {
        while running.len() < WIDTH
            && let Some((number, future)) = waiting.next()
        {
            running.spawn(async move { (number, future.await) });
        }
        match running.join_next().await {
            None => return results.into_iter().flatten().collect(),
            Some(Ok((number, output))) => results[number] = Some(output),
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[tokio::test]
    async fn however_many_there_are_few_run_at_a_time() {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let futures = (0..1000).map(|number| {
            let (running, most) = (running.clone(), most.clone());
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
