//! Work in progress, for which a plugin waits before it exits.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// The things that are being done.
#[derive(Debug, Default)]
pub(super) struct PendingWork {
    count: Mutex<usize>,
    /// Signalled when no work is left.
    idle: Condvar,
}

/// One piece of work, until it is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<PendingWork>);

impl PendingWork {
    /// Begins one thing.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        *self.count.lock() += 1;
        Busy(Arc::clone(self))
    }

    /// Waits until nothing is being done any more.
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
