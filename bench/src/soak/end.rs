//! When a soak ends.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use crate::interrupt;

/// Whether the time is over, or somebody wants it to be.
pub(super) fn is_over(stop: &AtomicBool) -> bool {
    stop.load(Relaxed) || interrupt::signal_seen()
}
