//! Doing a few things at a time, with results handled as they come.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::progress::Progress;

/// Runs the futures that `start` creates from `items`, at most `limit` at a time, and passes each
/// result to `finish`. The first failure ends the run and aborts the other futures.
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

/// Bytes that tasks hold in memory at the same time. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct MemoryBudget {
    /// In KiB, as a semaphore counts to 2^32 only.
    free: Arc<Semaphore>,
    whole: u32,
}

impl MemoryBudget {
    /// A budget of `bytes`, rounded up to KiB.
    pub(crate) fn new(bytes: u64) -> Self {
        let whole = kibibytes(bytes);
        Self {
            free: Arc::new(Semaphore::new(whole as usize)),
            whole,
        }
    }

    /// Waits until `bytes` are free, and reserves them until the result is dropped. A request for
    /// more than the budget waits for the whole budget.
    pub(crate) async fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let wanted = kibibytes(bytes).min(self.whole);
        let free = Arc::clone(&self.free);
        let taken = free.acquire_many_owned(wanted).await;
        // It is never closed.
        taken.map_err(|_| Error::Cancelled)
    }
}

fn kibibytes(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

/// Runs work that blocks or computes on a thread for such work, within the caller's span.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::progress::Silent;

    #[tokio::test]
    async fn tasks_hold_no_more_than_their_budget_or_one_large_thing_alone() {
        const WHOLE: u64 = 100 << 10;
        let budget = MemoryBudget::new(WHOLE);
        let held = Arc::new(Mutex::new((0_u64, 0_usize)));
        let most = Arc::new(Mutex::new((0_u64, 0_usize)));
        let sizes = [60, 50, 1, 400, 30, 30, 30, 100, 2].map(|size| size << 10);
        let start = |size: u64| {
            let (budget, held, most) = (budget.clone(), Arc::clone(&held), Arc::clone(&most));
            async move {
                let _taken = budget.take(size).await?;
                {
                    let mut held = held.lock().unwrap();
                    *held = (held.0 + size, held.1 + 1);
                    assert!(held.0 <= WHOLE || held.1 == 1, "{held:?}");
                    let mut most = most.lock().unwrap();
                    *most = (most.0.max(held.0), most.1.max(held.1));
                }
                tokio::task::yield_now().await;
                let mut held = held.lock().unwrap();
                *held = (held.0 - size, held.1 - 1);
                Ok(())
            }
        };
        for_each(8, sizes, &Silent, start, |()| Ok(()))
            .await
            .unwrap();
        let most = *most.lock().unwrap();
        assert_eq!(most.0, 400 << 10);
        assert!(most.1 > 1);
    }
}
