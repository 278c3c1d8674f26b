//! What an operation has asked of a remote, also when it fails.

use std::sync::Arc;

use cachefs_store::remote::{Traffic, TrafficMeter};
use parking_lot::Mutex;

/// The traffic of one operation; its clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Spending(Arc<Mutex<Traffic>>);

impl Spending {
    /// The traffic so far as it was noted: at the end of what was done, whether it worked or not.
    pub fn traffic(&self) -> Traffic {
        *self.0.lock()
    }

    /// Adds traffic.
    pub(crate) fn add(&self, traffic: Traffic) {
        *self.0.lock() += traffic;
    }

    /// Adds what a meter has counted, when the result is dropped.
    pub(crate) fn watch(&self, meter: &Arc<TrafficMeter>) -> Watched {
        Watched {
            meter: Arc::clone(meter),
            spending: self.clone(),
        }
    }
}

/// A meter whose counts are spent.
#[derive(Debug)]
pub(crate) struct Watched {
    meter: Arc<TrafficMeter>,
    spending: Spending,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.spending.add(self.meter.traffic());
    }
}
