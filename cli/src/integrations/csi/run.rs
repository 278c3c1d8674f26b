//! A restore or a save as a run of this program, with an environment of its own.
//!
//! Credentials of one pod are then known to one process, which is gone when it is done; and one
//! that hangs, in a kernel or at a server, can be ended.

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tonic::Status;

use super::credentials::Secrets;
use crate::{exit, output};

/// How long a run may take beyond its own limit, which it keeps itself unless something is wrong.
const GRACE: Duration = Duration::from_secs(10);
/// Time for a run to end after it was told to.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a run is looked at.
const POLL: Duration = Duration::from_millis(5);
/// How many of the last lines go into an error.
const SHOWN: usize = 6;

/// A run of this program.
pub(super) struct CsiServer<'a> {
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    /// Values to hide in the log.
    pub(super) secrets: &'a Secrets,
    /// An empty directory.
    pub(super) directory: &'a Path,
    /// How long it may take by its own account.
    pub(super) limit: Duration,
    /// Prefix of each line in the log.
    pub(super) who: &'a str,
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct Ran {
    /// The exit code; `None` when it was ended by a signal.
    pub(super) code: Option<u8>,
    /// The last lines that it said.
    said: Vec<String>,
}

impl Ran {
    /// The failure for kubelet; `None` if there was none.
    pub(super) fn refusal(&self) -> Option<Status> {
        let said = self.said.join("\n");
        Some(match self.code {
            Some(exit::SUCCESS) => return None,
            Some(exit::USAGE) => Status::invalid_argument(said),
            Some(exit::MISS) => Status::not_found(said),
            Some(exit::BACKEND) => Status::unavailable(said),
            Some(exit::INTEGRITY) => Status::data_loss(said),
            Some(exit::INTERRUPTED) => Status::aborted("it was interrupted"),
            Some(_) => Status::internal(said),
            None => Status::deadline_exceeded("it timed out and was killed"),
        })
    }
}

impl CsiServer<'_> {
    /// Runs it to its end, or ends it when its time is long over.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn run(self) -> std::io::Result<Ran> {
        // This very program, also when its file was replaced since.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("cachefs")
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        end_with_parent(&mut command);
        let mut child = command.spawn()?;
        let secrets = self.secrets.clone();
        let who = self.who.to_owned();
        let said = child
            .stderr
            .take()
            .map(|pipe| collect_output(pipe, secrets, who));
        let said = said.transpose()?;
        let status = wait_until(&mut child, Instant::now() + self.limit + GRACE)?;
        Ok(Ran {
            code: status.code().and_then(|code| u8::try_from(code).ok()),
            // It has no reason to panic.
            said: said.and_then(|it| it.join().ok()).unwrap_or_default(),
        })
    }
}

/// Asks the kernel to interrupt the run when the thread that waits for it is gone.
fn end_with_parent(command: &mut Command) {
    // SAFETY: the closure makes one system call and touches no memory of the parent's.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
            Ok(())
        });
    }
}

fn wait_until(child: &mut Child, deadline: Instant) -> std::io::Result<std::process::ExitStatus> {
    let mut asked = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        match asked {
            None if Instant::now() >= deadline => {
                // It may have ended by itself just now.
                let _ = kill_process(Pid::from_child(child), Signal::TERM);
                asked = Some(Instant::now());
            }
            Some(asked) if asked.elapsed() >= PATIENCE => {
                let _ = child.kill();
                return child.wait();
            }
            _ => {}
        }
        std::thread::sleep(POLL);
    }
}

/// Logs the output of a run, and keeps the end of it.
fn collect_output(
    pipe: impl Read + Send + 'static,
    secrets: Secrets,
    who: String,
) -> std::io::Result<JoinHandle<Vec<String>>> {
    let listen = move || {
        let mut last = Vec::new();
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let line = secrets.mask(&line);
            match line.starts_with("  ") {
                true => output::log_text(&line),
                false => output::log_text(&format!("{who}: {line}")),
            }
            last.push(line);
            if last.len() > SHOWN {
                last.remove(0);
            }
        }
        last
    };
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(listen)
}
