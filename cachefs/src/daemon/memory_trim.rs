//! Memory goes back to the kernel when views are closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::sys::memory::give_back;

/// Views are often closed together, and their last threads end a little later.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether it is about to be done.
#[derive(Debug, Default)]
pub(super) struct Tidy(Arc<AtomicBool>);

impl Tidy {
    /// Schedules one run for all requests until then.
    pub(super) fn soon(&self, runtime: &Handle) {
        if self.0.swap(true, Relaxed) {
            return;
        }
        let is_due = Arc::clone(&self.0);
        runtime.spawn(async move {
            tokio::time::sleep(PAUSE).await;
            is_due.store(false, Relaxed);
            let _ = tokio::task::spawn_blocking(give_back).await;
        });
    }
}
