//! Runs the `cachefs` binary in a sandbox and cleans up afterwards.
//!
//! A [`Cachefs`] is one machine, with a store directory, a home and an environment of its own.
//! [`Cachefs::second_machine`] creates another machine with the same remote in the same
//! [`Sandbox`]. When the last machine is dropped, also during a panic, we unmount everything below
//! the sandbox, stop the daemons and remove the directory.

mod plugin;
mod process;
mod registry;
mod run;
mod sandbox;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail};

pub use plugin::{VolumePlugin, ask_plugin};
pub use registry::{RegistryAnswer, RegistryServer};
pub use run::{Invocation, Output};
pub use sandbox::Sandbox;

/// Environment variable with the path of the binary under test.
pub const BINARY_VARIABLE: &str = "CACHEFS_BIN";

/// Variables that the binary inherits from the test environment.
const PASSED_ON: &[&str] = &[
    "PATH",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "LLVM_PROFILE_FILE",
    "TZ",
];

/// One machine that runs cachefs.
#[derive(Clone, Debug)]
pub struct Cachefs {
    binary: PathBuf,
    sandbox: Arc<Sandbox>,
    machines: Arc<AtomicUsize>,
    root: PathBuf,
    remote: String,
    env: Vec<(OsString, OsString)>,
}

impl Cachefs {
    /// Creates a machine whose remote is a directory in the sandbox.
    ///
    /// # Errors
    ///
    /// If there is no binary, or the sandbox cannot be created.
    pub fn new() -> Result<Self> {
        Self::of_binary(find_binary()?)
    }

    /// Creates a machine with a different binary, for example an older version.
    ///
    /// # Errors
    ///
    /// If there is no such binary, or the sandbox cannot be created.
    pub fn of_binary(binary: impl AsRef<Path>) -> Result<Self> {
        let binary = std::fs::canonicalize(binary.as_ref())?;
        let sandbox = Sandbox::new()?;
        let remote = sandbox.path().join("remote");
        std::fs::create_dir(&remote)?;
        let url = format!("file://{}", remote.display());
        Self::machine(binary, Arc::new(sandbox), Arc::default(), url)
    }

    /// Creates a machine with an existing remote.
    ///
    /// # Errors
    ///
    /// If there is no binary, or the sandbox cannot be created.
    pub fn with_remote(url: impl Into<String>) -> Result<Self> {
        let sandbox = Arc::new(Sandbox::new()?);
        Self::machine(find_binary()?, sandbox, Arc::default(), url.into())
    }

    fn machine(
        binary: PathBuf,
        sandbox: Arc<Sandbox>,
        machines: Arc<AtomicUsize>,
        remote: String,
    ) -> Result<Self> {
        let number = machines.fetch_add(1, Ordering::Relaxed);
        let root = sandbox.path().join(format!("machine-{number}"));
        for dir in ["home", "tmp", "work"] {
            std::fs::create_dir_all(root.join(dir))?;
        }
        let machine = Self {
            binary,
            sandbox,
            machines,
            root,
            remote,
            env: Vec::new(),
        };
        machine.sandbox.watch(&machine.binary, &machine.store());
        Ok(machine)
    }

    /// Creates another machine with the same remote and variables, and an empty store.
    ///
    /// # Errors
    ///
    /// If its directories cannot be created.
    pub fn second_machine(&self) -> Result<Self> {
        let machine = Self::machine(
            self.binary.clone(),
            Arc::clone(&self.sandbox),
            Arc::clone(&self.machines),
            self.remote.clone(),
        )?;
        Ok(Self {
            env: self.env.clone(),
            ..machine
        })
    }

    /// Sets an environment variable for every run of the binary, for example remote credentials.
    #[must_use]
    pub fn with_env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Path of the binary under test.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The store directory (`CACHEFS_STORE`), which the binary creates.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// URL of the remote (`CACHEFS_REMOTE`).
    #[must_use]
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// The home directory (`HOME`), initially empty.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// The working directory of commands, initially empty.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// The sandbox shared by all machines of a test.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Prepares a run of the binary.
    pub fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Invocation {
        let mut invocation = Invocation::new(&self.binary, args).cwd(self.work());
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                invocation = invocation.env(name, value);
            }
        }
        invocation = invocation
            .env("HOME", self.home())
            .env("TMPDIR", self.root.join("tmp"))
            .env("CACHEFS_STORE", self.store())
            .env("CACHEFS_REMOTE", &self.remote);
        for (name, value) in &self.env {
            invocation = invocation.env(name, value);
        }
        invocation
    }

    /// Runs the binary.
    ///
    /// # Panics
    ///
    /// If it cannot be started or does not exit in time; see [`Invocation::run`].
    #[track_caller]
    pub fn run(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        self.command(args).run()
    }

    /// Process id of the daemon, if the lock file names a process that runs our binary.
    #[must_use]
    pub fn daemon(&self) -> Option<u32> {
        process::daemon_of(&self.binary, &self.store())
    }

    /// Process id of the daemon's worker. If it is killed, the daemon starts a new one.
    #[must_use]
    pub fn worker(&self) -> Option<u32> {
        process::worker_of(self.daemon()?)
    }
}

/// Finds the binary through [`BINARY_VARIABLE`], or through the variable that cargo sets for
/// integration tests of the binary's crate.
fn find_binary() -> Result<PathBuf> {
    for variable in [BINARY_VARIABLE, "CARGO_BIN_EXE_cachefs"] {
        if let Some(named) = std::env::var_os(variable) {
            return std::fs::canonicalize(&named)
                .with_context(|| format!("{variable} names {named:?}"));
        }
    }
    bail!("no cachefs binary: run the tests of cachefs-cli, or name it in {BINARY_VARIABLE}")
}
