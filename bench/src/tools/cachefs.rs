//! The `cachefs` program with a store directory of its own.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;

use super::child::{self, FinishedChild, OnSignal};
use super::json_answer::{self, AnswerTraffic, RestoreAnswer, Save, Stats};
use crate::{machine, workspace};

/// Maximum time for a daemon to exit after a request or signal.
const PATIENCE: Duration = Duration::from_secs(10);
/// Prefixes of environment variables that change the program's behaviour or the place it reports
/// to.
const NOT_INHERITED: [&str; 4] = ["CACHEFS_", "PLUGIN_", "GITHUB_", "DRONE_"];

/// The `cachefs` program and its remote.
#[derive(Debug, Clone)]
pub(crate) struct CachefsProgram {
    /// Path of the program.
    pub(crate) program: PathBuf,
    /// The options that select the remote.
    pub(crate) remote: Vec<OsString>,
    /// Environment variables with the credentials of the remote; empty if those of this process
    /// apply.
    pub(crate) variables: Vec<(String, String)>,
}

/// The form of a restored directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestoreForm {
    /// A mount that reads data on demand.
    Mount,
    /// Plain files.
    Copy,
}

/// The JSON answer of a command, with its run time and memory.
#[derive(Debug)]
pub(crate) struct TimedAnswer<T> {
    /// The parsed JSON answer.
    pub(crate) answer: T,
    /// Run time and peak memory.
    pub(crate) finished: FinishedChild,
}

impl CachefsProgram {
    /// Finds the program: the given path, else next to this program, else in `PATH`.
    pub(crate) fn find(named: Option<&Path>) -> Result<PathBuf> {
        let beside = env::current_exe()?.with_file_name("cachefs");
        let program = match named {
            Some(path) => path.canonicalize(),
            None if beside.exists() => Ok(beside),
            None => Ok("cachefs".into()),
        };
        program.context("cachefs was not found; build it, or name it with --cachefs")
    }

    /// The output of `cachefs --version`.
    pub(crate) fn version(program: &Path) -> Result<String> {
        let asked = child::run_child(Command::new(program).arg("--version"), OnSignal::End)
            .context("cachefs does not run; build it, or name it with --cachefs")?;
        Ok(asked.stdout.trim().to_owned())
    }

    /// A store in `dir`, which the program creates on first use.
    pub(crate) fn store(&self, dir: PathBuf) -> Store {
        Store {
            cachefs: self.clone(),
            dir,
            mounts: Vec::new(),
        }
    }
}

/// A store directory with its daemon and mounts. All of them are removed on drop.
#[derive(Debug)]
pub(crate) struct Store {
    cachefs: CachefsProgram,
    dir: PathBuf,
    mounts: Vec<PathBuf>,
}

impl Store {
    /// Saves a directory under a key.
    pub(crate) fn save(&self, key: &str, path: &Path) -> Result<TimedAnswer<Save>> {
        let mut command = self.command("save");
        command.args(["--key", key, "--path"]).arg(path);
        let saved: TimedAnswer<Save> = run_answered(&mut command)?;
        let answer = &saved.answer;
        ensure!(
            answer.key == key && answer.layers > 0,
            "{key} was not saved: {}",
            saved.finished.stdout.trim()
        );
        Ok(saved)
    }

    /// Restores a key to a path, and checks that the result has the requested form.
    pub(crate) fn restore(
        &mut self,
        key: &str,
        path: &Path,
        mode: RestoreForm,
    ) -> Result<TimedAnswer<RestoreAnswer>> {
        if mode == RestoreForm::Mount {
            self.expect_mounts(&[path.to_owned()]);
        }
        self.restore_as(key, path, mode)
    }

    /// Registers paths before they are mounted, because a failing program may still leave a mount.
    pub(crate) fn expect_mounts(&mut self, paths: &[PathBuf]) {
        self.mounts.extend_from_slice(paths);
    }

    /// Mounts a key at a path that [`expect_mounts`](Self::expect_mounts) registered. Safe to call
    /// from several threads.
    pub(crate) fn restore_expected(
        &self,
        key: &str,
        path: &Path,
    ) -> Result<TimedAnswer<RestoreAnswer>> {
        self.restore_as(key, path, RestoreForm::Mount)
    }

    fn restore_as(
        &self,
        key: &str,
        path: &Path,
        mode: RestoreForm,
    ) -> Result<TimedAnswer<RestoreAnswer>> {
        let mut command = self.command("restore");
        command.args(["--key", key, "--path"]).arg(path);
        command.args([
            "--mode",
            if mode == RestoreForm::Mount {
                "mount"
            } else {
                "copy"
            },
        ]);
        let restored: TimedAnswer<RestoreAnswer> = run_answered(&mut command)?;
        ensure!(
            restored.answer.matched == "exact",
            "{key} was not restored: {}",
            restored.finished.stdout.trim()
        );
        ensure!(
            is_mounted(path)? == (mode == RestoreForm::Mount),
            "{key} was restored as something else than a {mode:?}"
        );
        Ok(restored)
    }

    /// Unmounts a path and forgets it; the daemon keeps running.
    pub(crate) fn unmount(&mut self, path: &Path) -> Result<()> {
        self.take_down(path)?;
        self.mounts.retain(|mounted| mounted != path);
        Ok(())
    }

    /// Unmounts a path that will be mounted again, so it stays registered. Safe to call from
    /// several threads.
    pub(crate) fn take_down(&self, path: &Path) -> Result<()> {
        if is_mounted(path)? {
            let mut command = self.command("umount");
            child::run_child(command.arg(path), OnSignal::Finish)?;
            ensure!(!is_mounted(path)?, "{} is still mounted", path.display());
        }
        Ok(())
    }

    /// Deletes a key.
    pub(crate) fn delete(&self, key: &str) -> Result<()> {
        child::run_child(self.command("delete").arg(key), OnSignal::End).map(drop)
    }

    /// Remote traffic of the daemon since its start.
    pub(crate) fn daemon_traffic(&self) -> Result<AnswerTraffic> {
        let stats: TimedAnswer<Stats> = run_answered(&mut self.command("stats"))?;
        let daemon = stats.answer.daemon.context("no daemon is running")?;
        Ok(daemon.traffic)
    }

    /// Peak resident memory of the daemon in bytes, or `None` if no daemon is running. This is the
    /// sum over its two processes, so shared pages count twice.
    pub(crate) fn daemon_memory(&self) -> Result<Option<u64>> {
        let Some(daemon) = self.daemon() else {
            return Ok(None);
        };
        let mut peak = machine::peak_memory(daemon)?;
        for process in machine::descendant_processes(daemon) {
            // A process that has exited since it was listed has no peak, even as a zombie.
            peak += machine::peak_memory(process).unwrap_or(0);
        }
        Ok(Some(peak))
    }

    /// Unmounts everything and stops the daemon; the store remains.
    pub(crate) fn stop(&mut self) -> Result<()> {
        while let Some(path) = self.mounts.last().cloned() {
            self.unmount(&path)?;
        }
        let Some(daemon) = self.daemon() else {
            return Ok(());
        };
        child::run_child(self.command("daemon").arg("stop"), OnSignal::Finish)?;
        ensure!(wait_for_end(daemon), "the daemon {daemon} does not end");
        Ok(())
    }

    /// Stops the daemon and removes the store.
    pub(crate) fn close(mut self) -> Result<()> {
        self.stop()?;
        workspace::remove_directory(&self.dir)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.cachefs.program);
        for (variable, _) in env::vars_os() {
            let name = variable.to_string_lossy();
            if NOT_INHERITED.iter().any(|start| name.starts_with(start)) {
                command.env_remove(&variable);
            }
        }
        let variables = self.cachefs.variables.iter();
        command.envs(variables.map(|(name, value)| (name, value)));
        // Change directory, so that a configuration file in the current directory is not picked up.
        if let Some(parent) = self.dir.parent() {
            command.current_dir(parent);
        }
        command.arg(name).arg("--store").arg(&self.dir);
        command
            .args(&self.cachefs.remote)
            .args(["--format", "json"]);
        command
    }

    /// The process id of the daemon that serves the store, if one is running.
    pub(crate) fn daemon(&self) -> Option<u32> {
        let text = fs::read_to_string(self.dir.join("daemon.lock")).ok()?;
        let process = text.trim().parse().ok()?;
        // The lock file outlives the daemon, and the kernel may reuse its process id. Check the
        // program.
        let program = fs::read_link(format!("/proc/{process}/exe")).ok()?;
        let ours = self.cachefs.program.file_name();
        (program.file_name() == ours).then_some(process)
    }

    /// Kills a daemon that does not respond.
    fn kill(&self) {
        let Some(daemon) = self.daemon() else { return };
        let Some(process) = Pid::from_raw(daemon.cast_signed()) else {
            return;
        };
        for signal in [Signal::TERM, Signal::KILL] {
            // The process may already have exited.
            let _ = kill_process(process, signal);
            if wait_for_end(daemon) {
                return;
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // After `close` neither a daemon nor a mount remains, and this does nothing.
        if let Err(error) = self.stop() {
            eprintln!("cachefs-bench: could not stop cachefs: {error:#}");
            for path in self.mounts.drain(..).rev() {
                let _ = rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH);
            }
            self.kill();
        }
        if let Err(error) = workspace::remove_directory(&self.dir) {
            eprintln!("cachefs-bench: could not clean up: {error:#}");
        }
    }
}

fn run_answered<T: DeserializeOwned>(command: &mut Command) -> Result<TimedAnswer<T>> {
    let finished = child::run_child(command, OnSignal::End)?;
    Ok(TimedAnswer {
        answer: json_answer::parse_answer(&finished.stdout)?,
        finished,
    })
}

/// Whether a directory is on a different filesystem than its parent.
fn is_mounted(path: &Path) -> Result<bool> {
    let device = |path: &Path| -> Result<u64> {
        let stat = fs::symlink_metadata(path);
        Ok(stat
            .with_context(|| format!("{} cannot be looked at", path.display()))?
            .dev())
    };
    let parent = path.parent().context("a mount point has a parent")?;
    Ok(device(path)? != device(parent)?)
}

/// Waits for a process that is not our child to exit.
fn wait_for_end(process: u32) -> bool {
    let start = Instant::now();
    while fs::exists(format!("/proc/{process}")).unwrap_or(true) {
        if start.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;

    use super::*;

    #[test]
    fn a_process_is_a_daemon_of_ours_only_when_it_runs_our_program() {
        let temp = tempfile::tempdir().unwrap();
        let store = |program: PathBuf| {
            let cachefs = CachefsProgram {
                program,
                remote: vec![],
                variables: vec![],
            };
            // Dropping the store would kill its daemon, which is this process.
            ManuallyDrop::new(cachefs.store(temp.path().to_owned()))
        };
        let ours = store(env::current_exe().unwrap());
        assert_eq!(ours.daemon_memory().unwrap(), None);
        let process = std::process::id();
        fs::write(temp.path().join("daemon.lock"), format!("{process}\n")).unwrap();
        assert_eq!(ours.daemon(), Some(process));
        assert!(ours.daemon_memory().unwrap() > Some(0));
        assert_eq!(store("/bin/other".into()).daemon(), None);
    }

    #[test]
    fn mounts_are_told_from_directories() {
        assert!(is_mounted(Path::new("/proc")).unwrap());
        let temp = tempfile::tempdir().unwrap();
        assert!(!is_mounted(temp.path()).unwrap());
        is_mounted(&temp.path().join("none")).unwrap_err();
    }
}
