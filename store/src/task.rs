//! Running futures side by side.

use std::future::Future;

/// Runs all futures at once on the runtime and returns their results in order.
///
/// Must be called within a tokio runtime. Dropping the returned future aborts those under way.
pub(crate) async fn join_all<F>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let mut set = tokio::task::JoinSet::new();
    let mut count = 0;
    for (number, future) in futures.into_iter().enumerate() {
        set.spawn(async move { (number, future.await) });
        count += 1;
    }
    let mut results: Vec<Option<F::Output>> = (0..count).map(|_| None).collect();
    while let Some(joined) = set.join_next().await {
        match joined {
            Ok((number, output)) => results[number] = Some(output),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    results.into_iter().flatten().collect()
}
