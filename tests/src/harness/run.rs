//! Running a program and capturing its output.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Default timeout of a run.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum time that stdout and stderr may stay open after the program has exited.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Poll interval while a program runs.
const POLL: Duration = Duration::from_millis(2);

/// A program to run, with an environment that contains only explicitly set variables.
#[derive(Clone, Debug)]
pub struct Invocation {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
    stdin: Vec<u8>,
    timeout: Duration,
}

impl Invocation {
    /// Prepares a run of `program` with an empty environment.
    pub fn new(
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        Self {
            program: program.into(),
            args: args
                .into_iter()
                .map(|arg| arg.as_ref().to_owned())
                .collect(),
            env: Vec::new(),
            cwd: None,
            stdin: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Replaces the program and keeps everything else.
    #[must_use]
    pub fn with_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Wraps the run in another program, for example `unshare`: the original program and its
    /// arguments follow the wrapper's own arguments.
    #[must_use]
    pub fn under(
        self,
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        let own = args.into_iter().map(|arg| arg.as_ref().to_owned());
        let args = own.chain([self.program.into_os_string()]).chain(self.args);
        Self {
            program: program.into(),
            args: args.collect(),
            ..self
        }
    }

    /// Appends arguments.
    #[must_use]
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Appends an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Sets an environment variable; a later value replaces an earlier one.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Removes an environment variable.
    #[must_use]
    pub fn without_env(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.retain(|(known, _)| known != name.as_ref());
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Sets the program's stdin; empty by default.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Sets the timeout; two minutes by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Starts the program with the given `stdout` and `stderr`, for tests that signal or inspect it
    /// while it runs.
    ///
    /// # Errors
    ///
    /// If the program cannot be started.
    pub fn spawn(&self, stdout: Stdio, stderr: Stdio) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().cloned());
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        let stdin = if self.stdin.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        };
        // A shell makes its background jobs ignore Ctrl-C, and their children inherit that, so we
        // reset it.
        //
        // SAFETY: `signal` is async-signal-safe, and the closure touches nothing else.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        command.stdin(stdin).stdout(stdout).stderr(stderr).spawn()
    }

    /// Runs the program until it exits.
    ///
    /// # Panics
    ///
    /// If the program cannot be started or does not exit in time. Also if its output stays open
    /// after the exit: a process that it started holds the pipe, and a CI step would wait for that.
    #[track_caller]
    pub fn run(&self) -> Output {
        let start = Instant::now();
        let mut child = match self.spawn(Stdio::piped(), Stdio::piped()) {
            Ok(child) => child,
            Err(error) => panic!("cannot start {:?}: {error}", self.program),
        };
        if let Some(mut stdin) = child.stdin.take() {
            let bytes = self.stdin.clone();
            // Ignore the error: a program need not read all of its input.
            std::thread::spawn(move || stdin.write_all(&bytes).ok());
        }
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        let status = self.wait(&mut child, start + self.timeout);
        let elapsed = start.elapsed();
        let output = Output {
            command: self.shown(),
            status: status.unwrap_or_default(),
            stdout: receive(stdout, "stdout", &self.shown()),
            stderr: receive(stderr, "stderr", &self.shown()),
            elapsed,
        };
        if status.is_none() {
            panic!("did not end within {:?}, killed\n{output}", self.timeout);
        }
        output
    }

    /// Waits for the program to exit, and kills it at the deadline.
    fn wait(&self, child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
                Ok(None) => {
                    // The process may already have exited.
                    child.kill().ok();
                    child.wait().ok();
                    return None;
                }
                Err(error) => panic!("cannot wait for {:?}: {error}", self.program),
            }
        }
    }

    fn shown(&self) -> String {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str());
        let words = std::iter::once(name).chain(self.args.iter().map(OsString::as_os_str));
        words
            .map(|word| word.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Reads a pipe to its end on a separate thread.
fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // Keep the bytes that were read before an error; they help to diagnose a failure.
        pipe.read_to_end(&mut bytes).ok();
        sender.send(bytes).ok();
    });
    receiver
}

#[track_caller]
fn receive(pipe: Option<Receiver<Vec<u8>>>, name: &str, command: &str) -> Vec<u8> {
    let Some(pipe) = pipe else { return Vec::new() };
    pipe.recv_timeout(DRAIN_TIMEOUT).unwrap_or_else(|_| {
        panic!("{command}: {name} is still open {DRAIN_TIMEOUT:?} after the program ended")
    })
}

/// The result of a run.
#[derive(Clone)]
pub struct Output {
    /// The program and its arguments, for messages.
    pub command: String,
    /// The exit status.
    pub status: ExitStatus,
    /// Captured stdout.
    pub stdout: Vec<u8>,
    /// Captured stderr.
    pub stderr: Vec<u8>,
    /// Run time.
    pub elapsed: Duration,
}

impl Output {
    /// Stdout as text; invalid UTF-8 is replaced.
    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Stderr as text; invalid UTF-8 is replaced.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The exit code; `None` if a signal killed the program.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Asserts success.
    ///
    /// # Panics
    ///
    /// If the program failed; prints all output.
    #[track_caller]
    pub fn success(self) -> Self {
        self.expect_code(0)
    }

    /// Asserts an exit code.
    ///
    /// # Panics
    ///
    /// If the exit code differs; prints all output.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert!(
            self.code() == Some(code),
            "expected exit code {code}\n{self}"
        );
        self
    }

    /// Asserts that stdout contains a text.
    ///
    /// # Panics
    ///
    /// If it does not; prints all output.
    #[track_caller]
    pub fn stdout_has(self, text: &str) -> Self {
        assert!(
            self.stdout().contains(text),
            "expected {text:?} on stdout\n{self}"
        );
        self
    }

    /// Asserts that stderr contains a text.
    ///
    /// # Panics
    ///
    /// If it does not; prints all output.
    #[track_caller]
    pub fn stderr_has(self, text: &str) -> Self {
        assert!(
            self.stderr().contains(text),
            "expected {text:?} on stderr\n{self}"
        );
        self
    }

    /// Parses stdout as JSON.
    ///
    /// # Panics
    ///
    /// If stdout is not JSON; prints all output.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_slice(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("stdout is no JSON: {error}\n{self}"),
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "no status".into(),
        };
        writeln!(f, "$ {}\n{ended} after {:?}", self.command, self.elapsed)?;
        writeln!(f, "--- stdout\n{}", self.stdout().trim_end())?;
        write!(f, "--- stderr\n{}", self.stderr().trim_end())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
