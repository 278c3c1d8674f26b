//! The end of a soak.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use crate::interrupt;

/// Whether the time is over or a signal has arrived.
pub(super) fn is_over(stop: &AtomicBool) -> bool {
    stop.load(Relaxed) || interrupt::signal_seen()
}
