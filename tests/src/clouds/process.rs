//! A server in a child process.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};

/// A running emulator, stopped on drop.
#[derive(Debug)]
pub(super) struct Emulator {
    process: Child,
    /// The listening address as `host:port`.
    pub(super) address: String,
}

impl Emulator {
    /// Starts the program named by `variable`, or `program` from `PATH`, and waits for an output
    /// line with `ready` followed by an address.
    ///
    /// Returns `None` if there is none in `PATH`. If the variable names a program, the program must
    /// exist.
    pub(super) fn start(
        variable: &str,
        program: &str,
        arguments: &[&str],
        ready: &str,
    ) -> Result<Option<Self>> {
        let named = std::env::var_os(variable);
        let program = named.clone().unwrap_or_else(|| OsString::from(program));
        // Merge both outputs into one pipe: some servers print the address to stdout, others to
        // stderr.
        let (output, input) = std::io::pipe()?;
        let spawned = Command::new(&program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(input.try_clone()?)
            .stderr(input)
            .spawn();
        let process = match spawned {
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            spawned => spawned.with_context(|| format!("could not start {program:?}"))?,
        };
        let mut emulator = Self {
            process,
            address: String::new(),
        };
        let mut lines = BufReader::new(output).lines();
        for line in &mut lines {
            let line = line?;
            if let Some((_, rest)) = line.split_once(ready) {
                let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
                emulator.address = rest[..end.unwrap_or(rest.len())].to_owned();
                // Keep reading the log, otherwise the server blocks once the pipe is full.
                thread::spawn(move || lines.for_each(drop));
                return Ok(Some(emulator));
            }
        }
        anyhow::bail!("{program:?} ended before it listened")
    }

    /// Sends a request that must succeed.
    pub(super) fn request(
        &self,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
    ) -> Result<()> {
        let mut socket = TcpStream::connect(&self.address)?;
        let length = body.len();
        write!(
            socket,
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n{headers}\
             Connection: close\r\n\r\n{body}",
            self.address
        )?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        ensure!(
            answer.starts_with("HTTP/1.1 2"),
            "{method} {target} failed: {answer}"
        );
        Ok(())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The process may already have exited; other failures cannot be handled in `drop`.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
