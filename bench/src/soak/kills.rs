//! Kills the daemon's worker while the load continues.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::end::is_over;
use super::tally::Tally;
use crate::machine;

/// Interval for checking whether the soak is over.
const LOOK: Duration = Duration::from_millis(50);

/// Kills the daemon's only child process every `every` until the soak ends.
pub(super) fn run_kills(daemon: u32, every: Duration, tally: &Tally, stop: &AtomicBool) {
    let mut last = Instant::now();
    while !is_over(stop) {
        thread::sleep(LOOK);
        if last.elapsed() < every {
            continue;
        }
        last = Instant::now();
        let worker = machine::descendant_processes(daemon).into_iter().next();
        let worker = worker.and_then(|worker| Pid::from_raw(worker.cast_signed()));
        if worker.is_some_and(|worker| kill_process(worker, Signal::KILL).is_ok()) {
            tally.kills.fetch_add(1, Relaxed);
        }
    }
}
