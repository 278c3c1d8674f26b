//! The child process: starts it, forwards signals to it, and waits for it.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::json_output;

/// Signals to forward.
const FORWARDED: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];
/// Signals that a terminal sends to all processes of its foreground group.
const FROM_TERMINAL: [i32; 2] = [SIGINT, SIGQUIT];

/// The end of a command.
#[derive(Debug)]
pub(crate) enum ChildEnd {
    /// It exited with this code.
    Code(u8),
    /// This signal killed it.
    Signal(i32),
    /// It could not be started.
    NotStarted(std::io::Error),
}

impl ChildEnd {
    /// The exit code for our caller, as in a shell: 128 plus the signal's number.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Code(code) => *code,
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            Self::NotStarted(error) if error.kind() == ErrorKind::NotFound => 127,
            Self::NotStarted(_) => 126,
        }
    }

    /// Describes the end, to follow "the command".
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Code(code) => format!("exited with code {code}"),
            Self::Signal(signal) => match signal_hook::low_level::signal_name(*signal) {
                Some(name) => format!("was killed by {name}"),
                None => format!("was killed by signal {signal}"),
            },
            Self::NotStarted(error) => format!("could not start: {error}"),
        }
    }
}

/// Signals that are queued for the command, including those that arrive before it runs.
pub(crate) struct Forwarding {
    signals: Signals,
}

impl Forwarding {
    /// Starts to queue signals.
    pub(crate) fn start() -> std::io::Result<Self> {
        Ok(Self {
            signals: Signals::new(FORWARDED)?,
        })
    }
}

/// Runs a command with our standard input, output and error, and forwards signals to it.
/// `directory`, if given, becomes its working directory.
///
/// With `--format json`, its output goes to standard error, because ours must contain only the
/// object.
pub(crate) fn run_child(
    command: &[OsString],
    env: &[(&str, &str)],
    directory: Option<&Path>,
    forwarding: Forwarding,
) -> std::io::Result<ChildEnd> {
    let Some((program, args)) = command.split_first() else {
        return Ok(ChildEnd::NotStarted(ErrorKind::NotFound.into()));
    };
    let mut to_start = Command::new(program);
    to_start.args(args).envs(env.iter().copied());
    if let Some(directory) = directory {
        if let Err(error) = std::fs::metadata(directory) {
            // Otherwise the message would be that the program does not exist.
            let reason = format!("cannot enter {}: {error}", directory.display());
            return Ok(ChildEnd::NotStarted(std::io::Error::other(reason)));
        }
        to_start.current_dir(directory);
    }
    if json_output::is_wanted() {
        to_start.stdout(std::io::stderr());
    }
    let mut child = match to_start.spawn() {
        Ok(child) => child,
        Err(error) => return Ok(ChildEnd::NotStarted(error)),
    };
    wait_for_child(&mut child, forwarding)
}

fn wait_for_child(child: &mut Child, forwarding: Forwarding) -> std::io::Result<ChildEnd> {
    let pid = Pid::from_child(child);
    let mut signals = forwarding.signals;
    let handle = signals.handle();
    let forward = move || {
        for number in &mut signals {
            if FROM_TERMINAL.contains(&number) && is_in_foreground() {
                continue;
            }
            if let Some(signal) = Signal::from_named_raw(number) {
                // It may have exited already.
                let _ = kill_process(pid, signal);
            }
        }
    };
    let thread = std::thread::Builder::new()
        .name("forward".to_owned())
        .spawn(forward)?;
    // Do not reap the process while signals can still be forwarded: otherwise another process could
    // get its PID.
    let ended = loop {
        match waitid(
            WaitId::Pid(pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other,
        }
    };
    handle.close();
    // The thread does not panic.
    let _ = thread.join();
    ended?;
    let status = child.wait()?;
    Ok(match (status.code(), status.signal()) {
        (Some(code), _) => ChildEnd::Code(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, Some(signal)) => ChildEnd::Signal(signal),
        (None, None) => ChildEnd::Code(u8::MAX),
    })
}

/// Whether we are in the foreground process group of a terminal. Then the terminal sends its
/// signals to the command directly.
fn is_in_foreground() -> bool {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else {
        return false;
    };
    // pid (name) state ppid pgrp session tty_nr tpgid; the name can contain any character.
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return false;
    };
    let fields: Vec<&str> = rest.split_whitespace().collect();
    matches!((fields.get(2), fields.get(5)), (Some(group), Some(foreground)) if group == foreground)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(words: &[&str]) -> ChildEnd {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        let forwarding = Forwarding::start().unwrap();
        run_child(&words, &[("ADDED", "7")], None, forwarding).unwrap()
    }

    #[test]
    fn a_command_runs_in_the_directory_that_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let words = ["sh", "-c", "echo here > it"].map(OsString::from);
        let run = |directory: &Path| {
            run_child(&words, &[], Some(directory), Forwarding::start().unwrap()).unwrap()
        };
        assert_eq!(run(dir.path()).code(), 0);
        assert!(dir.path().join("it").exists());
        let missing = run(&dir.path().join("missing"));
        assert!(missing.describe().contains("cannot enter"));
    }

    #[test]
    fn exit_codes_are_those_of_shells() {
        assert_eq!(ended(&["true"]).code(), 0);
        assert_eq!(ended(&["sh", "-c", "exit $ADDED"]).code(), 7);
        assert_eq!(ended(&["sh", "-c", "kill -KILL $$"]).code(), 137);
        assert_eq!(ended(&["/nowhere/at/all"]).code(), 127);
        assert_eq!(ended(&["/etc/hostname"]).code(), 126);
    }
}
