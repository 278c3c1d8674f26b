//! The S3 server of the tests, in a separate process.
//!
//! A separate process, because a child starts with the resident memory of its parent as its peak,
//! and because the read loops should not share a process with the server. For each line on stdin,
//! the server prints a line with the number of requests since the previous one. It exits when stdin
//! closes.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use cachefs_store::remote::RemoteSpec;
use cachefs_tests::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use serde::{Deserialize, Serialize};

/// Latency and bandwidth of the local server.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub(crate) struct ServerOptions {
    /// With `--remote s3-local`: delay every response by this many milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) latency_ms: u64,
    /// With `--remote s3-local`: limit each direction to this many megabytes per second
    #[arg(long, value_name = "MB")]
    pub(crate) bandwidth: Option<u64>,
}

impl ServerOptions {
    /// The bandwidth in bytes per second; `None` is unlimited.
    pub(crate) fn bytes_per_second(&self) -> Option<u64> {
        self.bandwidth
            .map(|megabytes| megabytes.saturating_mul(1_000_000))
    }
}

/// The first line that the server prints.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    endpoint: String,
}

/// The server's reply to each input line.
#[derive(Debug, Serialize, Deserialize)]
struct Served {
    requests: u64,
}

/// Runs the server until stdin closes.
pub(crate) fn serve_s3(options: &ServerOptions) -> Result<()> {
    let server = S3Server::start()?;
    let faults = server.faults();
    faults.set_latency(Duration::from_millis(options.latency_ms));
    faults.set_bandwidth(options.bytes_per_second());
    let hello = Hello {
        endpoint: server.endpoint(),
    };
    print_line(&hello)?;
    for line in io::stdin().lines() {
        line?;
        let requests = faults.counts().total();
        faults.reset_counts();
        print_line(&Served { requests })?;
    }
    Ok(())
}

fn print_line(message: &impl Serialize) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(message)?)?;
    Ok(stdout.flush()?)
}

/// A server process, stopped on drop.
#[derive(Debug)]
pub(super) struct LocalServer {
    endpoint: String,
    child: Child,
    line: Mutex<ServerLine>,
}

#[derive(Debug)]
struct ServerLine {
    /// Closing this pipe stops the server.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl LocalServer {
    /// Starts this program again as a server that stores its data in `dir`.
    pub(super) fn start(options: &ServerOptions, dir: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("s3-server");
        command.args(["--latency-ms", &options.latency_ms.to_string()]);
        if let Some(bandwidth) = options.bandwidth {
            command.args(["--bandwidth", &bandwidth.to_string()]);
        }
        let child = command
            .env("TMPDIR", dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C must reach only this process; we still need the server for cleanup.
            .process_group(0)
            .spawn();
        let mut child = child.context("could not start the S3 server")?;
        let output = child.stdout.take().context("the S3 server has no output")?;
        let mut line = ServerLine {
            input: child.stdin.take(),
            output: BufReader::new(output),
        };
        let hello: Hello = line.hear()?;
        Ok(Self {
            endpoint: hello.endpoint,
            child,
            line: Mutex::new(line),
        })
    }

    /// Endpoint and credentials of the server.
    pub(super) fn spec(&self) -> RemoteSpec {
        let credentials = [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ];
        let credentials = credentials.map(|(name, value)| (name.to_owned(), value.to_owned()));
        RemoteSpec {
            url: format!("s3://{BUCKET}/bench"),
            endpoint: Some(self.endpoint.clone()),
            path_style: Some(true),
            env: credentials.into_iter().collect(),
            ..RemoteSpec::default()
        }
    }

    /// Requests received since the last call.
    pub(super) fn requests(&self) -> Result<u64> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let input = line.input.as_mut().context("the S3 server has ended")?;
        input.write_all(b"\n")?;
        let served: Served = line.hear()?;
        Ok(served.requests)
    }
}

impl ServerLine {
    fn hear<T: for<'a> Deserialize<'a>>(&mut self) -> Result<T> {
        let mut text = String::new();
        self.output.read_line(&mut text)?;
        serde_json::from_str(&text).context("the S3 server has ended")
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        let line = self.line.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(line.input.take());
        // Drop cannot report how the server exited.
        let _ = self.child.wait();
    }
}
