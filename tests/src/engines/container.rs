//! What podman and docker have in common.

use std::ffi::OsStr;

use anyhow::{Context as _, Result, ensure};

use crate::harness::{Invocation, Output};

/// An engine with the command line of docker.
pub trait Engine {
    /// Prepares a command of the engine, such as `run` with its arguments.
    fn prepare(&self) -> Invocation;

    /// Prepares a command of the engine.
    fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Invocation
    where
        Self: Sized,
    {
        self.prepare().args(args)
    }

    /// Prepares a run of `sh -c SCRIPT` in a new container that is removed at its end.
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

    /// Starts a container that stays until it or the engine is dropped.
    ///
    /// # Errors
    ///
    /// When it does not start, with what the engine says.
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

/// A container that waits, and is removed when dropped.
pub struct Container<'a> {
    engine: &'a dyn Engine,
    id: String,
}

impl Container<'_> {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The process number of what it runs, as its engine sees it.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn pid(&self) -> Result<u32> {
        let output = self.run(["inspect", "--format", "{{.State.Pid}}"], []);
        let text = output.stdout();
        text.trim().parse().with_context(|| output.to_string())
    }

    /// Runs `sh -c SCRIPT` in it.
    ///
    /// # Panics
    ///
    /// When the engine cannot be started or does not end.
    #[track_caller]
    pub fn exec(&self, script: &str) -> Output {
        self.run(["exec"], ["sh", "-c", script])
    }

    /// Ends it, and keeps it.
    ///
    /// # Panics
    ///
    /// When the engine refuses.
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
