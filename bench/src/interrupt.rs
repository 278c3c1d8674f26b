//! Ctrl-C and termination: the work stops, and everything is cleaned up on the way out.
//!
//! Programs are started in process groups of their own, so a signal from the terminal reaches this
//! process only. It asks the programs that run to end; what waits for them fails, and the guards of
//! mounts, daemons and directories do their work as after any other failure.

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

/// Starts to listen for signals, for as long as the process lives.
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

/// Whether a signal has come.
pub(crate) fn signal_seen() -> bool {
    SEEN.load(Ordering::SeqCst)
}

/// Fails once a signal has come.
pub(crate) fn check_interrupt() -> Result<()> {
    if signal_seen() {
        bail!("interrupted");
    }
    Ok(())
}

/// The same as [`check_interrupt`] for code whose errors are those of files.
pub(crate) fn check_io() -> io::Result<()> {
    if signal_seen() {
        return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
    }
    Ok(())
}

/// A program that is asked to end when a signal comes. To be dropped before it is waited for no
/// more: its id may then be another's.
#[derive(Debug)]
pub(crate) struct Interruptible(i32);

impl Interruptible {
    /// Registers a process group by the id of the process that leads it.
    pub(crate) fn new(leader: u32) -> Self {
        let id = leader.cast_signed();
        let mut running = running_children();
        running.insert(id);
        // It may have been started after the signal came.
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
    // The set is whole after every statement that changes it.
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end_child(id: i32) {
    if let Some(group) = Pid::from_raw(id) {
        // It may have ended by itself.
        let _ = kill_process_group(group, Signal::TERM);
    }
}
