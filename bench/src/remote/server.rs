//! The S3 server of the tests, in a process of its own.
//!
//! In a process of its own because the memory of a program that is started counts from that of the
//! program that starts it, and because the reading loops should not share a process with what
//! they read from. The server obeys its standard input: for each line it answers with a line of
//! what it was asked since the last one, and at the end of the input it ends.

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

/// What the line to the server is like.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub(crate) struct ServerOptions {
    /// With `--remote s3-local`: delay every answer by this many milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) latency_ms: u64,
    /// With `--remote s3-local`: let this many megabytes a second through in each direction
    #[arg(long, value_name = "MB")]
    pub(crate) bandwidth: Option<u64>,
}

impl ServerOptions {
    /// The bandwidth in bytes a second; `None` is unlimited.
    pub(crate) fn bytes_per_second(&self) -> Option<u64> {
        self.bandwidth
            .map(|megabytes| megabytes.saturating_mul(1_000_000))
    }
}

/// What the server says first.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    endpoint: String,
}

/// What it says when it is asked.
#[derive(Debug, Serialize, Deserialize)]
struct Served {
    requests: u64,
}

/// Is the server, until the standard input ends.
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

/// A server process, ended when dropped.
#[derive(Debug)]
pub(super) struct LocalServer {
    endpoint: String,
    child: Child,
    line: Mutex<ServerLine>,
}

#[derive(Debug)]
struct ServerLine {
    /// Closing it ends the server.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl LocalServer {
    /// Starts this program again as a server that keeps its data in a directory.
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
            // Ctrl-C is for this process; the server is needed to clean up.
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

    /// How it is reached.
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

    /// The requests it got since it was asked last.
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
        // It has nobody to tell how it ended.
        let _ = self.child.wait();
    }
}
