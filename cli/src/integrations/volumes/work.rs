//! Work in progress, which a plugin finishes before it exits.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Counts the work in progress.
#[derive(Debug, Default)]
pub(super) struct PendingWork {
    count: Mutex<usize>,
    /// Signalled when no work is left.
    idle: Condvar,
}

/// A unit of work, in progress until dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<PendingWork>);

impl PendingWork {
    /// Starts a unit of work.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        *self.count.lock() += 1;
        Busy(Arc::clone(self))
    }

    /// Waits until no work is in progress.
    pub(super) fn wait_until_idle(&self) {
        let mut count = self.count.lock();
        while *count > 0 {
            self.idle.wait(&mut count);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut count = self.0.count.lock();
        *count -= 1;
        if *count == 0 {
            self.0.idle.notify_all();
        }
    }
}
