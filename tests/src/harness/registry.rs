//! A running `cachefs serve`, and HTTP requests to it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Cachefs;

/// Maximum time for the server to listen, or to exit.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A server process, killed on drop.
#[derive(Debug)]
pub struct RegistryServer {
    machine: Cachefs,
    log: PathBuf,
    child: Child,
    port: u16,
}

impl RegistryServer {
    /// Starts the server of a machine on a free port.
    ///
    /// # Errors
    ///
    /// If the server does not listen.
    pub fn start(machine: &Cachefs) -> Result<Self> {
        let log = machine.work().join("serve.log");
        let file = std::fs::File::create(&log)?;
        let command = machine.command(["serve", "--listen", "127.0.0.1:0"]);
        let child = command.spawn(Stdio::null(), Stdio::from(file))?;
        let mut server = Self {
            machine: machine.clone(),
            log,
            child,
            port: 0,
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = server.log();
            let port = log.lines().find_map(|line| {
                let address = line.strip_prefix("serving ")?.rsplit_once(" at ")?.1;
                address.rsplit_once(':')?.1.parse().ok()
            });
            if let Some(port) = port {
                server.port = port;
                return Ok(server);
            }
            if server.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("the server does not listen:\n{log}");
            }
            std::thread::sleep(POLL);
        }
    }

    /// Kills the server and starts it again, on another port.
    ///
    /// # Errors
    ///
    /// If the server does not listen.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        *self = Self::start(&self.machine)?;
        Ok(())
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        // The process may already have exited.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Sends SIGTERM and waits for the server to exit.
    ///
    /// # Errors
    ///
    /// If it does not exit, or exits with an error.
    pub fn stop(&mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a child has a number")?, Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait()? {
                Some(status) => {
                    ensure!(status.success(), "{status}:\n{}", self.log());
                    return Ok(());
                }
                None if Instant::now() > deadline => bail!("the server does not end"),
                None => std::thread::sleep(POLL),
            }
        }
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends bytes on a new connection and returns the complete response.
    ///
    /// # Errors
    ///
    /// If the connection fails.
    pub fn exchange(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(bytes)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }

    /// Sends a request with extra header lines, for example `Range: bytes=0-9`.
    ///
    /// # Errors
    ///
    /// If there is no response.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Result<RegistryAnswer> {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n");
        for header in headers {
            head += &format!("{header}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        let answer = self.exchange(&[head.as_bytes(), body].concat())?;
        RegistryAnswer::parse(&answer)
            .with_context(|| format!("no answer to {method} {path}\n{}", self.log()))
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the server's log\n{}", self.log());
        }
    }
}

/// A response from the server.
#[derive(Debug)]
pub struct RegistryAnswer {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body. The parser does not decode chunked encoding.
    pub body: Vec<u8>,
}

impl RegistryAnswer {
    fn parse(answer: &[u8]) -> Option<Self> {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&answer[..end]).ok()?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Some(Self {
            status,
            headers: headers.collect(),
            body: answer[end + 4..].to_vec(),
        })
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON, or `null` if it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The code of an error response, for example `BLOB_UNKNOWN`.
    #[must_use]
    pub fn error_code(&self) -> String {
        let code = &self.json()["errors"][0]["code"];
        code.as_str().unwrap_or_default().to_owned()
    }
}
