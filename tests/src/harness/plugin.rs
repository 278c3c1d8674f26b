//! A running `cachefs volume-plugin`, and requests in the form that engines send.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Cachefs;

/// Maximum time for the plugin to listen, or to exit.
const PATIENCE: Duration = Duration::from_secs(60);
/// Poll interval while waiting.
const POLL: Duration = Duration::from_millis(20);

/// A plugin process, killed on drop.
#[derive(Debug)]
pub struct VolumePlugin {
    machine: Cachefs,
    args: Vec<String>,
    socket: PathBuf,
    child: Child,
}

impl VolumePlugin {
    /// Starts the plugin of a machine on a socket, with extra arguments.
    ///
    /// # Errors
    ///
    /// If the plugin does not listen.
    pub fn start(machine: &Cachefs, socket: &Path, args: &[&str]) -> Result<Self> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let child = spawn(machine, socket, &args)?;
        let mut plugin = Self {
            machine: machine.clone(),
            args,
            socket: socket.to_owned(),
            child,
        };
        plugin.wait_until_ready()?;
        Ok(plugin)
    }

    /// Kills the plugin with SIGKILL and starts it again.
    ///
    /// # Errors
    ///
    /// If the plugin does not listen.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        self.child = spawn(&self.machine, &self.socket, &self.args)?;
        self.wait_until_ready()
    }

    /// Kills the plugin with SIGKILL, without a clean shutdown.
    pub fn kill(&mut self) {
        // The process may already have exited.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Sends SIGTERM and waits for the plugin to exit.
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
                    ensure!(status.success(), "the plugin ended with {status}");
                    return Ok(());
                }
                None if Instant::now() > deadline => bail!("the plugin does not end"),
                None => std::thread::sleep(POLL),
            }
        }
    }

    /// The plugin's stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(log(&self.machine)).unwrap_or_default()
    }

    /// Sends a request, for example `VolumeDriver.Mount`. Returns the response, or the error
    /// message in it.
    ///
    /// # Errors
    ///
    /// If there is no response.
    pub fn ask(&self, request: &str, body: &Value) -> Result<Result<Value, String>> {
        ask_plugin(&self.socket, request, body)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(&self.socket).is_err() {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("the plugin does not listen:\n{}", self.log());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

/// Sends a request to the plugin on a socket; see [`VolumePlugin::ask`].
///
/// # Errors
///
/// If there is no response.
pub fn ask_plugin(socket: &Path, request: &str, body: &Value) -> Result<Result<Value, String>> {
    let mut stream = UnixStream::connect(socket)?;
    let body = body.to_string();
    write!(
        stream,
        "POST /{request} HTTP/1.1\r\nHost: plugin\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("no answer to {request}: {answer:?}"))?;
    let body: Value = serde_json::from_str(body)?;
    Ok(match head.starts_with("HTTP/1.1 200 ") {
        true => Ok(body),
        false => Err(body["Err"].as_str().unwrap_or_default().to_owned()),
    })
}

fn log(machine: &Cachefs) -> PathBuf {
    machine.work().join("plugin.log")
}

fn spawn(machine: &Cachefs, socket: &Path, args: &[String]) -> Result<Child> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log(machine))?;
    let command = machine.command(["volume-plugin", "--socket"]).arg(socket);
    Ok(command.args(args).spawn(Stdio::null(), Stdio::from(log))?)
}

impl Drop for VolumePlugin {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the plugin's log\n{}", self.log());
        }
        // A killed plugin leaves its socket behind.
        std::fs::remove_file(&self.socket).ok();
    }
}
