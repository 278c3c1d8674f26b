//! Ctrl-C and termination: stop the work, then clean up.
//!
//! We start programs in process groups of their own, so a signal from the terminal reaches only
//! this process. The signal thread sends SIGTERM to the running programs. Their callers then return
//! an error, and the guards of mounts, daemons and directories clean up as after any other failure.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static SEEN: AtomicBool = AtomicBool::new(false);
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Starts a thread that handles SIGINT, SIGTERM and SIGHUP until the process ends.
pub(crate) fn listen_for_signals() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("no signal handler")?;
    let thread = move || {
        for _ in signals.forever() {
            SEEN.store(true, Ordering::SeqCst);
            for &id in running_children().iter() {
                end_child(id);
            }
        }
    };
    thread::Builder::new()
        .name("signals".into())
        .spawn(thread)?;
    Ok(())
}

/// Whether a signal has arrived.
pub(crate) fn signal_seen() -> bool {
    SEEN.load(Ordering::SeqCst)
}

/// Returns an error once a signal has arrived.
pub(crate) fn check_interrupt() -> Result<()> {
    if signal_seen() {
        bail!("interrupted");
    }
    Ok(())
}

/// Like [`check_interrupt`], for code that returns [`io::Error`].
pub(crate) fn check_io() -> io::Result<()> {
    if signal_seen() {
        return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
    }
    Ok(())
}

/// A child process that gets SIGTERM when a signal arrives. Drop this as soon as the child has been
/// reaped: the kernel may then reuse its process id.
#[derive(Debug)]
pub(crate) struct Interruptible(i32);

impl Interruptible {
    /// Registers a process group by the process id of its leader.
    pub(crate) fn new(leader: u32) -> Self {
        let id = leader.cast_signed();
        let mut running = running_children();
        running.insert(id);
        // The signal may have arrived before we registered the child.
        if signal_seen() {
            end_child(id);
        }
        Self(id)
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        running_children().remove(&self.0);
    }
}

fn running_children() -> MutexGuard<'static, BTreeSet<i32>> {
    // Every statement leaves the set consistent, so a poisoned lock is safe to use.
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end_child(id: i32) {
    if let Some(group) = Pid::from_raw(id) {
        // The process may already have exited.
        let _ = kill_process_group(group, Signal::TERM);
    }
}
