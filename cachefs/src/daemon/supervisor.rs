//! The process that outlives the worker.
//!
//! A FUSE mount lives as long as its descriptor is open in some process. The supervisor keeps the
//! descriptors of all mounts, the socket of the daemon and the lock of the store, and does nothing
//! else: it waits for its only child, the worker, and forks a new one when that dies. In the
//! meantime clients and readers wait; requests that the dead worker had received are sent again
//! ([`crate::sys::fuse_init`]).
//!
//! The worker is a fork that executes no program: the supervisor has one thread and no state except
//! for the kept items, so its copy is a worker with complete knowledge.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::{WaitOptions, WaitStatus, waitpid};

use super::crash_suspect::Blame;
use super::estate::Estate;
use super::fd_table::{HeldDescriptor, Trust};
use super::handover;
use super::supervisor_channel::{self, Keeper, Order};
use crate::error::{Error, Result};
use crate::sys::crash_record;
use crate::sys::socket::SocketFile;
use crate::sys::spawn::Readiness;

/// A worker that ends with this exit code is to be followed by another program's.
pub(super) const UPGRADE: i32 = 75;

/// A worker that dies sooner than this may have crashed on a request, and then the next one would,
/// too.
const SHORT_LIFE: Duration = Duration::from_millis(200);
/// Number of short lives in a row that cannot be a coincidence.
const SHORT_LIVES: u32 = 50;

/// Which process this is.
pub(super) enum Side {
    /// The worker.
    Worker(WorkerInit),
    /// The supervisor, when all is over; with the exit code.
    Supervisor(i32),
}

/// The state that a worker starts with.
pub(super) struct WorkerInit {
    pub(super) listener: UnixListener,
    /// As in [`Estate`].
    pub(super) socket: Option<SocketFile>,
    pub(super) keeper: Keeper,
    /// Descriptors of the previous worker.
    pub(super) held: Vec<HeldDescriptor>,
    /// The process that waits for the daemon to be ready; only for the first worker.
    pub(super) readiness: Option<Readiness>,
    /// How many workers there were before.
    pub(super) restarts: u64,
}

/// Forks a worker, and another one when it dies. Returns in each worker, and in the supervisor when
/// the last worker has ended by itself.
pub(super) fn supervise_workers(mut estate: Estate, readiness: Readiness) -> Result<Side> {
    let alone = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if alone != 1 {
        let many = io::Error::other("the process has threads already");
        return Err(Error::io("start", "the daemon's worker")(many));
    }
    let mut readiness = Some(readiness);
    crash_record::prepare_notes().map_err(Error::io("start", "the daemon's worker"))?;
    let mut blame = Blame::new();
    let mut short_lives = 0;
    let mut restarts = 0;
    loop {
        let born = Instant::now();
        let supervisor = std::process::id();
        let (ours, theirs) =
            UnixStream::pair().map_err(Error::io("start", "the daemon's worker"))?;
        let worker = match fork_worker().map_err(Error::io("start", "the daemon's worker"))? {
            None => {
                drop(ours);
                let Estate {
                    lock,
                    listener,
                    socket,
                    held,
                } = estate;
                // It is the supervisor's: giving it up here would give it up there.
                std::mem::forget(lock);
                return Ok(Side::Worker(WorkerInit {
                    listener,
                    socket,
                    keeper: Keeper::new(theirs, supervisor),
                    held,
                    readiness,
                    restarts,
                }));
            }
            Some(worker) => worker,
        };
        drop(theirs);
        // The worker alone says whether it serves: when it dies before, nobody does.
        readiness = None;
        let mut exe = None;
        while let Some((order, frame)) = supervisor_channel::receive_order(&ours) {
            execute_order(order, frame, &mut estate.held, &mut exe);
            supervisor_channel::acknowledge_order(&ours);
        }
        let status =
            wait_for_worker(worker).map_err(Error::io("wait for", "the daemon's worker"))?;
        match (status.exit_status(), exe) {
            (Some(UPGRADE), Some(exe)) => {
                // Returns only if the program cannot be executed; then this program continues.
                let error = handover::exec_successor(&estate, &exe);
                tracing::error!("{} cannot go on as the daemon: {error}", exe.display());
            }
            (Some(code), _) if code == 0 || estate.held.is_empty() => {
                return Ok(Side::Supervisor(code));
            }
            // A SIGTERM to the worker means the daemon, like one to the supervisor.
            _ if status.terminating_signal() == Some(libc::SIGTERM) => {
                return Ok(Side::Supervisor(128 + libc::SIGTERM));
            }
            _ => {
                let how = describe_status(status);
                short_lives = match born.elapsed() < SHORT_LIFE {
                    true => short_lives + 1,
                    false => 0,
                };
                if short_lives >= SHORT_LIVES {
                    tracing::error!(
                        "the worker, process {worker}, {how}, like {short_lives} in a row: the daemon and its mounts end"
                    );
                    return Ok(Side::Supervisor(1));
                }
                let views = crash_record::take_notes();
                if blame.is_crash(status)
                    && let Some(name) = blame.crashed(&views, Instant::now())
                {
                    tracing::error!(
                        "{name} crashed the worker repeatedly: it is no longer served, and its reads fail; unmount it"
                    );
                    // It is not the mounts that stay which the next worker dies of.
                    short_lives = 0;
                }
                sort_held(&mut estate.held, &blame);
                let mounts = estate.held.iter().filter(|held| held.is_mount()).count();
                tracing::warn!(
                    "the worker, process {worker}, {how}; a new worker takes over (mounts: {mounts})"
                );
            }
        }
        restarts += 1;
    }
}

fn execute_order(
    order: Order,
    mut frame: crate::sys::fdpass::SocketFrame,
    held: &mut Vec<HeldDescriptor>,
    upgrade: &mut Option<std::path::PathBuf>,
) {
    match order {
        Order::Hold { name } => match (String::from_utf8(frame.payload), frame.fds.pop()) {
            (Ok(item), Some(fd)) => {
                held.retain(|held| held.name != name);
                held.push(HeldDescriptor {
                    name,
                    item,
                    fd,
                    trust: Trust::default(),
                });
            }
            _ => tracing::error!("no descriptor came with {name}: it ends with the worker"),
        },
        Order::Release { name } => held.retain(|held| held.name != name),
        Order::Upgrade { exe } => *upgrade = Some(exe),
    }
}

/// Moves suspects to the end.
fn sort_held(held: &mut [HeldDescriptor], blame: &Blame) {
    for held in held.iter_mut() {
        held.trust = match blame.of(&held.name) {
            0 => Trust::Full,
            _ if blame.is_quarantined(&held.name) => Trust::Quarantined,
            _ => Trust::Suspect,
        };
    }
    held.sort_by_key(|held| blame.order(&held.name));
}

fn describe_status(status: WaitStatus) -> String {
    match (status.terminating_signal(), status.exit_status()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(code)) => format!("exited with code {code}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The worker to which signals of the supervisor are forwarded.
static WORKER: AtomicI32 = AtomicI32::new(0);

/// Forks; `None` in the child. Must be called in a process that has one thread.
fn fork_worker() -> io::Result<Option<i32>> {
    // SAFETY: there is one thread, so no lock is held by another that the child does not have.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: the default action has no code.
            unsafe { libc::signal(libc::SIGTERM, libc::SIG_DFL) };
            // Distinguishes both processes in `ps` and `top`; failures do not matter.
            let _ = rustix::thread::set_name(c"cachefs-worker");
            Ok(None)
        }
        worker => {
            WORKER.store(worker, Relaxed);
            let handler = end_both as extern "C" fn(libc::c_int);
            // SAFETY: the handler makes system calls only.
            unsafe { libc::signal(libc::SIGTERM, handler as libc::sighandler_t) };
            Ok(Some(worker))
        }
    }
}

/// SIGTERM is meant for the daemon as a whole.
extern "C" fn end_both(signal: libc::c_int) {
    // SAFETY: system calls that a signal handler may make.
    unsafe {
        libc::kill(WORKER.load(Relaxed), signal);
        libc::_exit(128 + signal);
    }
}

fn wait_for_worker(worker: i32) -> io::Result<WaitStatus> {
    loop {
        match waitpid(rustix::process::Pid::from_raw(worker), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
