//! podman, run by root or by an ordinary user.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::config::Config;
use super::container::Engine;
use super::image::archives;
use super::{PATH, User, installed, is_root};
use crate::harness::{Invocation, Sandbox};

/// Maximum time for container monitors to exit.
const PATIENCE: Duration = Duration::from_secs(20);
/// Poll interval while waiting for them.
const POLL: Duration = Duration::from_millis(20);

/// A podman with images and containers in a directory of its own.
#[derive(Debug)]
pub struct Podman<'a> {
    owner: Owner<'a>,
    config: Config,
    sandbox: Sandbox,
}

#[derive(Debug)]
enum Owner<'a> {
    Root,
    User(&'a User),
}

impl<'a> Podman<'a> {
    /// Sets up podman for root with both images. Returns `None` if podman is not installed.
    ///
    /// # Errors
    ///
    /// If an image cannot be imported.
    pub fn of_root() -> Result<Option<Self>> {
        if !is_root() {
            return Ok(None);
        }
        Self::new(Owner::Root)
    }

    /// Sets up rootless podman for a user with both images. Returns `None` if podman is not
    /// installed.
    ///
    /// # Errors
    ///
    /// If an image cannot be imported.
    pub fn of_user(user: &'a User) -> Result<Option<Self>> {
        if !installed("podman", &["newuidmap", "newgidmap"]) {
            return Ok(None);
        }
        Self::new(Owner::User(user))
    }

    fn new(owner: Owner<'a>) -> Result<Option<Self>> {
        if !installed("podman", &["podman", "runc", "busybox"]) {
            return Ok(None);
        }
        let sandbox = Sandbox::open_to_all()?;
        let config = Config::write(sandbox.path(), matches!(owner, Owner::User(_)))?;
        let podman = Self {
            owner,
            config,
            sandbox,
        };
        for (name, archive) in archives(podman.sandbox.path())? {
            let imported = podman.command(["import"]).arg(archive).arg(name).run();
            ensure!(imported.status.success(), "no image {name}\n{imported}");
        }
        Ok(Some(podman))
    }

    /// Environment variables that make any podman use these images and containers.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, &Path); 2] {
        self.config.variables()
    }

    /// Prepares a command that runs as the podman's owner, with the variables that select its
    /// storage.
    pub fn as_owner(&self, program: &str) -> Invocation {
        let command = match self.owner {
            Owner::Root => Invocation::new(program, [""; 0])
                .env("PATH", PATH)
                .env("HOME", self.sandbox.path())
                .cwd(self.sandbox.path()),
            Owner::User(user) => user.command(program),
        };
        self.config.on(command)
    }
}

/// Whether the arguments of any process mention a path below a directory.
fn is_named_by_a_process(dir: &Path) -> bool {
    let dir = dir.as_os_str().as_bytes();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.into_iter().any(|process| {
        std::fs::read(process.path().join("cmdline"))
            .is_ok_and(|line| line.windows(dir.len()).any(|part| part == dir))
    })
}

impl Engine for Podman<'_> {
    fn prepare(&self) -> Invocation {
        self.as_owner("podman")
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        // Remove containers that a failed test left; their storage goes with the sandbox.
        let removed = self
            .command(["rm", "--all", "--force", "--time", "0"])
            .run();
        if !removed.status.success() {
            eprintln!("containers may be left: {removed}");
        }
        // The container monitors (conmon) clean up asynchronously and mount the storage for that.
        // Wait for them, so that they do not race with its removal.
        let deadline = Instant::now() + PATIENCE;
        while is_named_by_a_process(self.sandbox.path()) && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
    }
}
