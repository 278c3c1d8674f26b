//! A dockerd that belongs to the test.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::container::Engine;
use super::image::archives;
use super::{PATH, installed, is_root};
use crate::harness::{Invocation, Sandbox};

/// Maximum time for dockerd to respond after a start, or to exit.
const PATIENCE: Duration = Duration::from_secs(60);
/// Poll interval while waiting.
const POLL: Duration = Duration::from_millis(50);

/// A dockerd with images, containers and socket in a directory of its own.
#[derive(Debug)]
pub struct Docker {
    daemon: Child,
    sandbox: Sandbox,
}

impl Docker {
    /// Starts a dockerd and imports both images. Returns `None` if docker is not installed.
    ///
    /// # Errors
    ///
    /// If dockerd does not start, or an image cannot be imported.
    pub fn start_daemon() -> Result<Option<Self>> {
        if !is_root()
            || !installed(
                "docker",
                &["dockerd", "docker", "containerd", "runc", "busybox"],
            )
        {
            return Ok(None);
        }
        let sandbox = Sandbox::open_to_all()?;
        let log = std::fs::File::create(sandbox.path().join("log"))?;
        let at = |name: &str| format!("{}/{name}", sandbox.path().display());
        let daemon = Invocation::new(
            "dockerd",
            [
                "--iptables=false".to_owned(),
                "--ip6tables=false".to_owned(),
                "--bridge=none".to_owned(),
                "--storage-driver=overlay2".to_owned(),
                "--default-ulimit=nofile=4096:4096".to_owned(),
                // The containerd that dockerd starts rejects relative paths.
                format!("--data-root={}", at("data")),
                format!("--exec-root={}", at("exec")),
                format!("--pidfile={}", at("pid")),
            ],
        )
        .arg("--host")
        .arg(socket(&sandbox))
        .env("PATH", PATH)
        .env("HOME", sandbox.path())
        .cwd(sandbox.path())
        .spawn(Stdio::from(log.try_clone()?), Stdio::from(log))?;
        let mut docker = Self { daemon, sandbox };
        docker.wait_until_ready()?;
        for (name, archive) in archives(docker.sandbox.path())? {
            let imported = docker.command(["import"]).arg(archive).arg(name).run();
            ensure!(imported.status.success(), "no image {name}\n{imported}");
        }
        Ok(Some(docker))
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.command(["version"]).run().status.success() {
            if self.daemon.try_wait()?.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.sandbox.path().join("log"));
                bail!("dockerd does not answer:\n{}", log.unwrap_or_default());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// The value for `DOCKER_HOST`.
    #[must_use]
    pub fn host(&self) -> String {
        socket(&self.sandbox)
    }

    /// The directory with data and socket.
    #[must_use]
    pub fn dir(&self) -> &std::path::Path {
        self.sandbox.path()
    }
}

fn socket(sandbox: &Sandbox) -> String {
    format!("unix://{}", sandbox.path().join("docker.sock").display())
}

impl Engine for Docker {
    fn prepare(&self) -> Invocation {
        Invocation::new("docker", [""; 0])
            .env("PATH", PATH)
            .env("HOME", self.sandbox.path())
            .env("DOCKER_HOST", self.host())
            .cwd(self.sandbox.path())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Remove containers that a failed test left: dockerd would wait ten seconds for each that
        // ignores SIGTERM.
        let left = self.command(["ps", "--all", "--quiet"]).run().stdout();
        if !left.trim().is_empty() {
            let ids = left.split_whitespace();
            self.command(["rm", "--force"]).args(ids).run();
        }
        let pid = i32::try_from(self.daemon.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // The process may already have exited.
            kill_process(pid, Signal::TERM).ok();
        }
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.daemon.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                self.daemon.kill().ok();
                self.daemon.wait().ok();
                eprintln!("dockerd had to be killed; its containerd may be left");
                return;
            }
            std::thread::sleep(POLL);
        }
    }
}
