//! Starts a daemon that outlives its parent.
//!
//! The daemon is this program (or another) executed again, never a fork that continues. It has a
//! session of its own, is a child of init, and inherits only a log file and one end of a pipe.
//! Through that pipe it reports that it is ready, or the reason why it will not be.

use cachefs_store::Hint;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use thiserror::Error;

/// Passes the number of the pipe's descriptor to the child.
pub(crate) const READY_FD: &str = "CACHEFS_READY_FD";

/// Written by a ready child; any other text is the reason for a failure.
const READY: &[u8] = b"ok\n";

/// Separates the reason from the hint in a report.
const HINT: char = '\t';

/// Variables by which CI runners find and kill processes that a step left behind.
const RUNNER_MARKS: [&str; 4] = [
    "RUNNER_TRACKING_ID",
    "JENKINS_NODE_COOKIE",
    "JENKINS_SERVER_COOKIE",
    "BUILD_ID",
];

/// How many bytes of the log an error shows.
const LOG_TAIL: u64 = 2048;

/// The longest message that is taken from a child, in bytes.
const MAX_MESSAGE: u64 = 16 << 10;

/// Descriptors that are marked one by one where the kernel (before 5.11) cannot mark a range.
const MARKED_ONE_BY_ONE: u64 = 1 << 16;

/// A daemon to start.
#[derive(Debug, Clone)]
pub struct DetachedCommand {
    /// The program; made absolute, because the child's working directory is `/`.
    pub exe: PathBuf,
    /// Its arguments, without the program's name.
    pub args: Vec<OsString>,
    /// Variables set on top of this process's environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where its output and errors are appended; created with mode 0600.
    pub log: PathBuf,
    /// How long it may take to become ready.
    pub patience: Duration,
}

/// Why a daemon did not become ready.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The log file cannot be opened.
    #[error("cannot open the log file {}", path.display())]
    Log {
        /// The log file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The program cannot be executed.
    #[error("cannot start {}", exe.display())]
    Start {
        /// The program.
        exe: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The daemon says why it cannot run.
    #[error("{message}")]
    Reported {
        /// Why.
        message: String,
        /// How to fix it, if the daemon knows.
        hint: Option<Hint>,
    },
    /// The daemon ended without a word on the pipe.
    #[error("the daemon exited during startup{}", log_tail_text(log_tail))]
    Died {
        /// The end of its log.
        log_tail: String,
    },
    /// The daemon is not ready in time; when it reports at last, it learns that nobody waits.
    #[error("the daemon is not ready after {} s{}", patience.as_secs_f32(), log_tail_text(log_tail))]
    TimedOut {
        /// How long was waited.
        patience: Duration,
        /// The end of its log.
        log_tail: String,
    },
}

fn log_tail_text(log_tail: &str) -> String {
    if log_tail.is_empty() {
        String::new()
    } else {
        format!("; its log ends with:\n{log_tail}")
    }
}

/// Starts a daemon and waits until it calls [`Readiness::ready`].
///
/// # Errors
/// [`SpawnError`]; except after [`SpawnError::TimedOut`], no daemon runs then.
pub fn spawn_detached(command: &DetachedCommand) -> Result<(), SpawnError> {
    let start = |source| SpawnError::Start {
        exe: command.exe.clone(),
        source,
    };
    let exe = std::path::absolute(&command.exe).map_err(start)?;
    let (log, log_start) = open_log(&command.log)?;
    let (mut reader, writer) = io::pipe().map_err(start)?;
    let ready_fd = writer.as_raw_fd();

    let mut child = Command::new(exe);
    child.args(&command.args);
    for mark in RUNNER_MARKS {
        child.env_remove(mark);
    }
    child.envs(command.env.iter().map(|(key, value)| (key, value)));
    child.env(READY_FD, ready_fd.to_string());
    child.current_dir("/").stdin(Stdio::null());
    child.stdout(log.try_clone().map_err(start)?).stderr(log);
    // SAFETY: `detach` makes system calls only and touches no memory but its own stack.
    unsafe { child.pre_exec(move || detach_child(ready_fd)) };
    // The spawned process exits at once, so that the daemon becomes a child of init.
    let mut first = child.spawn().map_err(start)?;
    drop(writer);
    first.wait().map_err(start)?;

    let tail = || log_tail(&command.log, log_start);
    match read_report(&mut reader, Instant::now() + command.patience) {
        Ok(Some(report)) if report == READY => Ok(()),
        Ok(Some(report)) if report.is_empty() => Err(SpawnError::Died { log_tail: tail() }),
        Ok(Some(report)) => {
            let report = String::from_utf8_lossy(report.trim_ascii_end());
            let (message, hint) = match report.split_once(HINT) {
                Some((message, hint)) => (message, serde_json::from_str(hint).ok()),
                None => (&*report, None),
            };
            Err(SpawnError::Reported {
                message: message.to_owned(),
                hint,
            })
        }
        Ok(None) => Err(SpawnError::TimedOut {
            patience: command.patience,
            log_tail: tail(),
        }),
        Err(source) => Err(start(source)),
    }
}

/// The child's end of the pipe to its parent.
#[derive(Debug)]
pub struct Readiness {
    pipe: Option<File>,
}

impl Readiness {
    /// Takes the pipe that [`spawn_detached`] made, if the process was started by it.
    ///
    /// Call it once, first thing in `main`: the descriptor becomes close-on-exec and belongs to the
    /// returned value. A second call in one process finds the pipe taken and reports to nobody.
    pub fn from_env() -> Self {
        static TAKEN: std::sync::Once = std::sync::Once::new();
        let mut pipe = None;
        TAKEN
            .call_once(|| pipe = std::env::var_os(READY_FD).and_then(|text| inherited_pipe(&text)));
        Self { pipe }
    }

    /// Reports that the daemon serves.
    ///
    /// # Errors
    /// `BrokenPipe` when nobody waits any more: the starter has given up or was ended.
    pub fn ready(self) -> io::Result<()> {
        self.report(READY)
    }

    /// Reports why the daemon cannot run. The message is one line for the user.
    ///
    /// # Errors
    /// As [`Readiness::ready`].
    pub fn failed(self, message: &str, hint: Option<&Hint>) -> io::Result<()> {
        let one_line = |text: &str| text.replace('\n', "; ").replace(HINT, " ");
        let mut line = one_line(message);
        // An empty report would read as a death, and "ok" as success.
        if line.is_empty() || line == "ok" {
            "failed".clone_into(&mut line);
        }
        if let Some(hint) = hint {
            line.push(HINT);
            // JSON has no line breaks.
            line.push_str(&serde_json::to_string(hint)?);
        }
        line.push('\n');
        self.report(line.as_bytes())
    }

    fn report(self, bytes: &[u8]) -> io::Result<()> {
        match self.pipe {
            Some(mut pipe) => pipe.write_all(bytes),
            None => Ok(()),
        }
    }
}

fn inherited_pipe(text: &OsStr) -> Option<File> {
    let number: RawFd = text.to_str()?.parse().ok().filter(|&number| number > 2)?;
    // SAFETY: fcntl looks at the number only, and fails where nothing is open.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    // A variable passed on by accident names a descriptor that is closed or somebody else's; ours is
    // the one that came through exec, so it is not close-on-exec yet.
    if flags < 0 || flags & libc::FD_CLOEXEC != 0 {
        return None;
    }
    // SAFETY: the number is open and was inherited for this value alone; `from_env` runs once.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(File::from(fd))
}

fn open_log(path: &Path) -> Result<(File, u64), SpawnError> {
    let open = || {
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let length = log.metadata()?.len();
        Ok((log, length))
    };
    open().map_err(|source| SpawnError::Log {
        path: path.to_owned(),
        source,
    })
}

/// The end of the log since `start`, from the beginning of a line.
fn log_tail(path: &Path, start: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut log = File::open(path)?;
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(start.max(length.saturating_sub(LOG_TAIL))))?;
        let mut bytes = Vec::new();
        log.take(LOG_TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    // The log explains an error; its absence must not hide that error.
    String::from_utf8_lossy(&read().unwrap_or_default())
        .trim()
        .to_owned()
}

/// Reads until the child closes its end; `None` when the deadline comes first.
fn read_report(pipe: &mut io::PipeReader, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    let mut report = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut waiting = [PollFd::new(pipe, PollFlags::IN)];
        match poll(&mut waiting, Some(&left)) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let mut buffer = [0; 1024];
        let count = pipe.read(&mut buffer)?;
        report.extend_from_slice(&buffer[..count]);
        // A daemon that never closes its end must not keep its starter: a line is a report.
        if count == 0 || report.ends_with(b"\n") || report.len() as u64 >= MAX_MESSAGE {
            return Ok(Some(report));
        }
    }
}

/// Runs in the forked child, before exec: nothing here may allocate or lock.
fn detach_child(ready_fd: RawFd) -> io::Result<()> {
    // SAFETY: plain system calls on the child's own state. The raw clone is a fork without the
    // handlers of the C library, which are not safe in a child of a process with threads.
    unsafe {
        if libc::setsid() < 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::syscall(libc::SYS_clone, libc::SIGCHLD as libc::c_long, 0, 0, 0, 0) {
            0 => {}
            -1 => return Err(io::Error::last_os_error()),
            _ => libc::_exit(0),
        }
        // Close-on-exec, and not closed: the standard library reports a failing exec through one.
        let range = libc::syscall(
            libc::SYS_close_range,
            3 as libc::c_uint,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
        if range < 0 {
            let mut limit = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
            for fd in 3..limit.rlim_cur.min(MARKED_ONE_BY_ONE) as RawFd {
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
        if libc::fcntl(ready_fd, libc::F_SETFD, 0) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
