//! Serves a directory over HTTP on loopback.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

/// Serves its working directory on a free port and prints the port.
const SERVER: &str = "\
import http.server, sys
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Quiet)
print(server.server_port, flush=True)
server.serve_forever()";

/// A server process, stopped on drop.
pub(super) struct FileServer {
    process: Child,
    port: u16,
}

impl FileServer {
    /// Starts a server for a directory.
    pub(super) fn start(dir: &Path) -> Result<Self> {
        let process = Command::new("python3")
            .args(["-c", SERVER])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start python3")?;
        // Construct early, so that `Drop` kills the process on every error below.
        let mut server = Self { process, port: 0 };
        let output = server.process.stdout.take();
        let mut line = String::new();
        BufReader::new(output.context("the output was asked for")?).read_line(&mut line)?;
        server.port = line.trim().parse().context("the server does not start")?;
        Ok(server)
    }

    /// The server's URL, with a trailing slash.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        // The process may already have exited.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
