//! The traffic of an operation, counted also when the operation fails.

use std::sync::Arc;

use parking_lot::Mutex;

use super::meter::{RemoteTraffic, TrafficMeter};

/// The traffic of one operation. Clones share one count.
#[derive(Debug, Clone, Default)]
pub struct Spending(Arc<Mutex<RemoteTraffic>>);

impl Spending {
    /// The traffic of the parts of the operation that have ended, with success or without.
    pub fn traffic(&self) -> RemoteTraffic {
        *self.0.lock()
    }

    /// Adds traffic.
    pub fn add(&self, traffic: RemoteTraffic) {
        *self.0.lock() += traffic;
    }

    /// Adds the counts of a meter when the result is dropped.
    pub(crate) fn watch(&self, meter: &Arc<TrafficMeter>) -> WatchedMeter {
        WatchedMeter {
            meter: Arc::clone(meter),
            spending: self.clone(),
        }
    }
}

/// A meter that adds its counts to a [`Spending`] when it is dropped.
#[derive(Debug)]
pub(crate) struct WatchedMeter {
    meter: Arc<TrafficMeter>,
    spending: Spending,
}

impl Drop for WatchedMeter {
    fn drop(&mut self) {
        self.spending.add(self.meter.traffic());
    }
}
