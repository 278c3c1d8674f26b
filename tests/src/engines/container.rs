//! Operations shared by podman and docker.

use std::ffi::OsStr;

use anyhow::{Context as _, Result, ensure};

use crate::harness::{Invocation, Output};

/// A container engine with docker's command line.
pub trait Engine {
    /// Prepares an empty command line of the engine; append for example `run` and its arguments.
    fn prepare(&self) -> Invocation;

    /// Prepares a command of the engine with arguments.
    fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Invocation
    where
        Self: Sized,
    {
        self.prepare().args(args)
    }

    /// Prepares a run of `sh -c SCRIPT` in a new container, which is removed afterwards.
    fn shell<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        image: &str,
        script: &str,
    ) -> Invocation
    where
        Self: Sized,
    {
        self.command(["run", "--rm", "--network", "none"])
            .args(args)
            .args([image, "sh", "-c", script])
    }

    /// Starts a container that runs until it or the engine is dropped.
    ///
    /// # Errors
    ///
    /// If the container does not start; includes the engine's output.
    fn start<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        image: &str,
    ) -> Result<Container<'_>>
    where
        Self: Sized,
    {
        let output = self
            .command(["run", "-d", "--network", "none"])
            .args(args)
            .args([image, "sleep", "100000"])
            .run();
        ensure!(output.status.success(), "no container starts\n{output}");
        let container = Container {
            engine: self,
            id: output.stdout().trim().to_owned(),
        };
        Ok(container)
    }
}

/// A running, idle container, removed on drop.
pub struct Container<'a> {
    engine: &'a dyn Engine,
    id: String,
}

impl Container<'_> {
    /// The container id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The process id of the container's main process, as reported by the engine.
    ///
    /// # Errors
    ///
    /// If the container is not running.
    pub fn pid(&self) -> Result<u32> {
        let output = self.run(["inspect", "--format", "{{.State.Pid}}"], []);
        let text = output.stdout();
        text.trim().parse().with_context(|| output.to_string())
    }

    /// Runs `sh -c SCRIPT` in the container.
    ///
    /// # Panics
    ///
    /// If the engine cannot be started or does not finish in time.
    #[track_caller]
    pub fn exec(&self, script: &str) -> Output {
        self.run(["exec"], ["sh", "-c", script])
    }

    /// Kills the container without removing it.
    ///
    /// # Panics
    ///
    /// If the engine fails.
    #[track_caller]
    pub fn stop(&self) {
        self.run(["kill"], []).success();
    }

    fn run<const N: usize, const M: usize>(&self, before: [&str; N], after: [&str; M]) -> Output {
        let command = self.engine.prepare().args(before);
        command.arg(&self.id).args(after).run()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let removed = self.run(["rm", "-f"], []);
        if !removed.status.success() {
            eprintln!("a container is left to its engine: {removed}");
        }
    }
}
