//! Moto's S3 server, if installed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use cachefs_store::remote::RemoteSpec;

use super::{BUCKET, server};

/// A running `moto_server` with the bucket [`BUCKET`], stopped on drop.
#[derive(Debug)]
pub struct Moto {
    process: Child,
    address: String,
}

impl Moto {
    /// Starts the server named by `CACHEFS_TEST_MOTO`, or the one in `PATH`.
    ///
    /// Returns `None` if there is none in `PATH`. If the variable names a program, the program must
    /// exist.
    pub fn start() -> Result<Option<Self>> {
        let named = std::env::var_os("CACHEFS_TEST_MOTO");
        let program = named.clone().unwrap_or_else(|| "moto_server".into());
        let spawned = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let process = match spawned {
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            spawned => spawned.with_context(|| format!("could not start {program:?}"))?,
        };
        let mut moto = Self {
            process,
            address: String::new(),
        };
        match moto.read_address()? {
            Some(address) => moto.address = address,
            // The shim of a version manager exits like this if the program is not installed.
            None if named.is_none() => return Ok(None),
            None => anyhow::bail!("{program:?} ended before it listened"),
        }
        moto.create_bucket()?;
        Ok(Some(moto))
    }

    /// The server's address as `http://host:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A remote at a prefix of the bucket.
    pub fn spec(&self, prefix: &str) -> RemoteSpec {
        server::spec(&self.endpoint(), prefix)
    }

    /// Waits for the line with the port. Returns `None` if the program exits without printing it.
    fn read_address(&mut self) -> Result<Option<String>> {
        let stderr = self
            .process
            .stderr
            .take()
            .context("the server's stderr is not piped")?;
        let mut lines = BufReader::new(stderr).lines();
        for line in &mut lines {
            let line = line?;
            if let Some((_, address)) = line.split_once("Running on http://") {
                let address = address
                    .split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                // Keep reading the log, otherwise the server blocks once the pipe is full.
                thread::spawn(move || lines.for_each(drop));
                return Ok(Some(address));
            }
        }
        Ok(None)
    }

    fn create_bucket(&self) -> Result<()> {
        let mut socket = TcpStream::connect(&self.address)?;
        write!(
            socket,
            "PUT /{BUCKET} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        )?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        ensure!(
            answer.starts_with("HTTP/1.1 200"),
            "could not create the bucket: {answer}"
        );
        Ok(())
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // The process may already have exited; other failures cannot be handled in `drop`.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
