//! Runs programs and measures their time and memory.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use wait4::Wait4;

use crate::interrupt::{self, Interruptible};

/// Maximum length of quoted stderr in errors, in bytes.
const COMPLAINT: usize = 2000;

/// The result of a program, or of a pipe, that succeeded.
#[derive(Debug)]
pub(crate) struct FinishedChild {
    /// Time from before the first program started until the last one exited.
    pub(crate) wall: Duration,
    /// Peak resident memory in bytes, summed over the programs of a pipe.
    pub(crate) peak_memory: u64,
    /// Stdout of the last program, unless it was redirected.
    pub(crate) stdout: String,
}

/// Whether an interrupt terminates the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnSignal {
    /// Terminate it: it is part of the measured work.
    End,
    /// Let it finish: it cleans up.
    Finish,
}

/// Runs one program and captures its output.
pub(crate) fn run_child(command: &mut Command, on_signal: OnSignal) -> Result<FinishedChild> {
    // Capture to files: with pipes, a daemon that inherits its parent's stdout would delay EOF.
    let mut stdout = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?);
    let start = Instant::now();
    let child = Running::start(command, on_signal)?;
    let peak_memory = child.wait()?;
    let wall = start.elapsed();
    Ok(FinishedChild {
        wall,
        peak_memory,
        stdout: read_contents(&mut stdout)?,
    })
}

/// Runs a pipe of programs and discards the output of the last one.
pub(crate) fn run_pipe<const N: usize>(commands: [Command; N]) -> Result<FinishedChild> {
    pipe_to(commands, Stdio::null())
}

/// Runs a pipe of programs with the given stdout for the last one.
pub(crate) fn pipe_to<const N: usize>(
    commands: [Command; N],
    output: Stdio,
) -> Result<FinishedChild> {
    let start = Instant::now();
    let running = start_all(commands, output);
    let (running, failure) = match running {
        Ok(running) => (running, None),
        Err((running, error)) => (running, Some(error)),
    };
    // Wait for all programs before judging any. A failure closes the pipes of the programs before
    // it, so the last error is the most informative.
    let ended: Vec<_> = running.into_iter().map(Running::wait).collect();
    let wall = start.elapsed();
    if let Some(error) = failure {
        return Err(error);
    }
    let mut peak_memory = 0;
    for ended in ended.into_iter().rev() {
        peak_memory += ended?;
    }
    Ok(FinishedChild {
        wall,
        peak_memory,
        stdout: String::new(),
    })
}

/// Starts the programs of a pipe. On failure, returns the programs already started with the error.
fn start_all<const N: usize>(
    commands: [Command; N],
    output: Stdio,
) -> Result<Vec<Running>, (Vec<Running>, anyhow::Error)> {
    let mut running: Vec<Running> = Vec::new();
    let mut output = Some(output);
    for (number, mut command) in commands.into_iter().enumerate() {
        let source = running
            .last_mut()
            .and_then(|before| before.child.stdout.take());
        command.stdin(source.map_or_else(Stdio::null, Stdio::from));
        if number + 1 < N {
            command.stdout(Stdio::piped());
        } else {
            command.stdout(output.take().unwrap_or_else(Stdio::null));
        }
        // Dropping the command closes our end of the pipe, so that the previous program gets
        // SIGPIPE if this one dies.
        match Running::start(&mut command, OnSignal::End) {
            Ok(started) => running.push(started),
            Err(error) => return Err((running, error)),
        }
    }
    Ok(running)
}

struct Running {
    name: String,
    child: Child,
    complaints: File,
    interruptible: Option<Interruptible>,
}

impl Running {
    fn start(command: &mut Command, on_signal: OnSignal) -> Result<Self> {
        if on_signal == OnSignal::End {
            interrupt::check_interrupt()?;
        }
        let name = command.get_program().to_string_lossy().into_owned();
        let complaints = tempfile::tempfile()?;
        let child = command
            .stderr(complaints.try_clone()?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("could not start {name}"))?;
        let interruptible = (on_signal == OnSignal::End).then(|| Interruptible::new(child.id()));
        Ok(Self {
            name,
            child,
            complaints,
            interruptible,
        })
    }

    /// Waits for the program to exit. Returns its peak memory in bytes.
    fn wait(mut self) -> Result<u64> {
        let used = self.child.wait4();
        drop(self.interruptible.take());
        let used = used.with_context(|| format!("could not wait for {}", self.name))?;
        if !used.status.success() {
            // A program that we terminated has not failed; report the interrupt.
            interrupt::check_interrupt()?;
            let text = read_contents(&mut self.complaints)?;
            bail!(
                "{} failed with {}: {}",
                self.name,
                used.status,
                last_part(text.trim())
            );
        }
        Ok(used.rusage.maxrss)
    }
}

fn read_contents(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn last_part(text: &str) -> &str {
    let start = text.len().saturating_sub(COMPLAINT);
    let start = (start..text.len()).find(|&at| text.is_char_boundary(at));
    &text[start.unwrap_or(0)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_time_and_memory_are_those_of_the_program() {
        let ended = run_child(
            &mut shell("sleep 0.05; echo out; echo err >&2"),
            OnSignal::End,
        )
        .unwrap();
        assert_eq!(ended.stdout, "out\n");
        assert!(ended.wall >= Duration::from_millis(50));
        assert!(ended.peak_memory > 100_000, "{}", ended.peak_memory);
    }

    #[test]
    fn a_process_left_behind_does_not_delay_the_end() {
        let ended = run_child(&mut shell("sleep 3 & echo out"), OnSignal::End).unwrap();
        assert!(ended.wall < Duration::from_secs(2), "{:?}", ended.wall);
    }

    #[test]
    fn a_failure_repeats_what_the_program_said() {
        let error =
            run_child(&mut shell("echo no such luck >&2; exit 3"), OnSignal::End).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("no such luck") && text.contains('3'),
            "{text}"
        );
    }

    #[test]
    fn a_pipe_fails_when_either_end_does() {
        run_pipe([shell("echo a"), shell("grep -q a")]).unwrap();
        run_pipe([shell("echo a; exit 1"), shell("grep -q a")]).unwrap_err();
        run_pipe([shell("echo a"), shell("cat >/dev/null; exit 1")]).unwrap_err();
        run_pipe([shell("yes"), shell("exit 1")]).unwrap_err();
        run_pipe([shell("yes"), Command::new("/no/such/program")]).unwrap_err();
    }
}
