//! Moto's S3 server, where it is installed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use cachefs_store::remote::RemoteSpec;

use super::{BUCKET, server};

/// A running `moto_server`, stopped when dropped. Its bucket is [`BUCKET`].
#[derive(Debug)]
pub struct Moto {
    process: Child,
    address: String,
}

impl Moto {
    /// Starts the server that `CACHEFS_TEST_MOTO` names, or the one in `PATH`.
    ///
    /// `None` when there is none in `PATH`; one that is named must be there.
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
            // A version manager's stand-in for a program that is not installed does this.
            None if named.is_none() => return Ok(None),
            None => anyhow::bail!("{program:?} ended before it listened"),
        }
        moto.create_bucket()?;
        Ok(Some(moto))
    }

    /// The server's address, as `http://host:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How to reach a prefix of the bucket.
    pub fn spec(&self, prefix: &str) -> RemoteSpec {
        server::spec(&self.endpoint(), prefix)
    }

    /// Waits for the line that tells the port; `None` if the program ends without one.
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
                // Its log goes on; nobody reading it would block the server in the end.
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
        // It may have ended by itself; there is nothing to do about other failures.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
