//! Runs a restore or a save as a separate process of this program, with its own environment.
//!
//! So the credentials of a pod are known only to a short-lived process. We can also kill a process
//! that hangs in the kernel or on a server.

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

/// Extra time beyond the run's own limit, which it normally enforces itself.
const GRACE: Duration = Duration::from_secs(10);
/// Time for a run to exit after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(3);
/// Polling interval for the exit of a run.
const POLL: Duration = Duration::from_millis(5);
/// Maximum number of output lines in an error.
const SHOWN: usize = 6;

/// A process of this program for one volume.
pub(super) struct CsiServer<'a> {
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    /// Values to mask in the log.
    pub(super) secrets: &'a Secrets,
    /// An empty directory to run in.
    pub(super) directory: &'a Path,
    /// The time limit that the run enforces itself.
    pub(super) limit: Duration,
    /// Prefix of each line in the log.
    pub(super) who: &'a str,
}

/// Result of a run.
#[derive(Debug)]
pub(super) struct Ran {
    /// The exit code; `None` if a signal killed it.
    pub(super) code: Option<u8>,
    /// The last lines of its output.
    said: Vec<String>,
}

impl Ran {
    /// The error for kubelet; `None` if the run succeeded.
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
    /// Runs the process to its end, or kills it well after its time limit.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(super) fn run(self) -> std::io::Result<Ran> {
        // The running binary, even if its file has been replaced.
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
            // The thread does not panic.
            said: said.and_then(|it| it.join().ok()).unwrap_or_default(),
        })
    }
}

/// Asks the kernel to interrupt the run if the thread that waits for it dies.
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
                // The process may have exited already.
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

/// Logs the output of a run, and keeps its last lines.
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
