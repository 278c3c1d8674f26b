//! End-to-end builds: restore a cache and run a command on it, compared with an archive.
//!
//! The archive and cachefs alternate within each run. Each measurement starts cold: the store
//! directory does not exist, no daemon runs, and the target is empty.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::common::{CommonArgs, Output, Setup, print_step};
use crate::measure::Unit;
use crate::recorder::{Quantity, RowRecorder};
use crate::remote::RemotePrefix;
use crate::report::{BenchReport, ReportSection};
use crate::tools::cachefs::{RestoreForm, Store};
use crate::tools::child::{self, OnSignal};
use crate::tools::tar::{self, TarArchive, TarCompressor};
use crate::work::find;
use crate::workspace;

const TOTAL: Quantity = Quantity::seconds("restore and command");
const RESTORE: Quantity = Quantity::seconds("restore alone");
const COMMAND: Quantity = Quantity::seconds("command alone, after the restore");
const ORDER: [Quantity; 3] = [TOTAL, RESTORE, COMMAND];
/// Cache key shared by all runs.
const KEY: &str = "bench-build";

/// The directory to cache and the command to run on it.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildsOptions {
    /// The directory to cache, such as a `node_modules`
    #[arg(long, value_name = "DIR")]
    v1: PathBuf,
    /// Where the command expects the directory; must be missing or empty, and is empty afterwards
    #[arg(long, value_name = "DIR")]
    target: PathBuf,
    /// The working directory of the command [default: the parent directory of the target]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Unmeasured cachefs runs before the measured ones; each ends with an unmount, which publishes
    /// the files that the command read
    #[arg(long, value_name = "N", default_value_t = 0)]
    train: u16,
    /// A shell command that removes build output, for example `rm -rf dist`; runs before each
    /// measurement and is not timed
    #[arg(long, value_name = "SHELL COMMAND")]
    clean: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    output: Output,
    /// The command, after `--`
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the benchmark and prints the report to stdout.
pub(crate) fn run_builds(options: &BuildsOptions) -> Result<()> {
    let programs = tar::tar_versions()?;
    let setup = Setup::open(&options.common)?;
    let machine = setup.machine(programs)?;
    let section = measure_builds(&setup, options)?;
    options
        .output
        .write(&BenchReport::new(machine, vec![section]))
}

/// Times and traffic of one restore and the build that follows.
#[derive(Debug, Clone, Copy)]
struct BuildTimes {
    restore: Duration,
    command: Duration,
}

struct BuildsBench<'a> {
    setup: &'a Setup,
    options: &'a BuildsOptions,
    target: BuildTarget,
    place: RemotePrefix<'a>,
}

fn measure_builds(setup: &Setup, options: &BuildsOptions) -> Result<ReportSection> {
    let source = options.v1.canonicalize();
    let source = source.with_context(|| format!("{} cannot be used", options.v1.display()))?;
    let bench = BuildsBench {
        setup,
        options,
        target: BuildTarget::claim(&options.target)?,
        place: setup.target.place("builds")?,
    };
    let mut recorder = RowRecorder::new(&ORDER);
    let archive = bench.save(&source)?;
    bench.train(&mut recorder)?;
    for number in 1..=setup.runs {
        eprintln!("builds: run {number} of {}", setup.runs);
        let theirs = bench.with_archive(&archive)?;
        let ours = bench.with_cachefs("mount", RestoreForm::Mount)?;
        let copied = bench.with_cachefs("copy", RestoreForm::Copy)?;
        let rows = [
            (tar::NAME, theirs),
            ("cachefs mount", ours),
            ("cachefs copy", copied),
        ];
        for (label, times) in rows {
            recorder.time(TOTAL, label, times.restore + times.command);
            recorder.time(RESTORE, label, times.restore);
            recorder.time(COMMAND, label, times.command);
        }
    }
    let mut section = setup.section("a build with its cache");
    let (_, totals) = find::find_tree(&source)?;
    let bytes = Unit::Bytes.show(totals.bytes as f64);
    let shown = format!("{}: {} files, {bytes}", source.display(), totals.files);
    section.fact("cache", shown);
    let words = options.command.iter().map(|word| word.to_string_lossy());
    section.fact("command", words.collect::<Vec<_>>().join(" "));
    section.fact("training", format!("{} runs before", options.train));
    recorder.finish(&mut section);
    Ok(section)
}

impl<'a> BuildsBench<'a> {
    /// Saves the directory as an archive and as a cache.
    fn save(&self, source: &Path) -> Result<TarArchive<'a>> {
        print_step("save")?;
        let archive = if self.setup.target.is_bucket() {
            TarArchive::remote(TarCompressor::Zstd, self.setup.target.place("archive")?)
        } else {
            let path = self.setup.workspace.path().join("archive");
            TarArchive::file(TarCompressor::Zstd, path)
        };
        archive.save(source)?;
        let store = self.store("saver")?;
        store.save(KEY, source)?;
        store.close()?;
        Ok(archive)
    }

    /// Runs the command on mounts without measuring, so that cachefs records its reads.
    fn train(&self, recorder: &mut RowRecorder) -> Result<()> {
        for number in 1..=self.options.train {
            let times = self.with_cachefs("train", RestoreForm::Mount)?;
            let label = format!("training run {number}");
            let total = times.restore + times.command;
            let quantity = Quantity::seconds("training, restore and command").apart();
            recorder.time(quantity, &label, total);
        }
        Ok(())
    }

    fn with_archive(&self, archive: &TarArchive<'_>) -> Result<BuildTimes> {
        self.clean()?;
        print_step("tar: restore, command")?;
        self.target.make()?;
        let restore = archive.restore(&self.target.path)?.wall;
        let command = self.command()?;
        self.target.clear()?;
        Ok(BuildTimes { restore, command })
    }

    fn with_cachefs(&self, name: &str, mode: RestoreForm) -> Result<BuildTimes> {
        self.clean()?;
        print_step(&format!("cachefs {name}: restore, command"))?;
        self.target.make()?;
        let mut store = self.store(name)?;
        let restored = store.restore(KEY, &self.target.path, mode)?;
        let command = self.command();
        // The daemon publishes the recorded reads when it unmounts.
        store.close()?;
        self.target.clear()?;
        Ok(BuildTimes {
            restore: restored.finished.wall,
            command: command?,
        })
    }

    fn store(&self, name: &str) -> Result<Store> {
        self.setup
            .store(&self.place.cachefs(&self.setup.program), name)
    }

    fn command(&self) -> Result<Duration> {
        let words = &self.options.command;
        let program = words.first().context("there is no command")?;
        let mut command = Command::new(program);
        command.args(&words[1..]).current_dir(self.directory());
        Ok(child::run_child(&mut command, OnSignal::End)?.wall)
    }

    fn clean(&self) -> Result<()> {
        if let Some(script) = &self.options.clean {
            let mut command = Command::new("sh");
            command.arg("-c").arg(script).current_dir(self.directory());
            child::run_child(&mut command, OnSignal::End)?;
        }
        Ok(())
    }

    fn directory(&self) -> PathBuf {
        let given = self.options.directory.as_deref();
        let beside = self.target.path.parent();
        given.or(beside).unwrap_or(Path::new("/")).to_owned()
    }
}

/// The restore target, which was missing or empty when the benchmark started.
#[derive(Debug)]
struct BuildTarget {
    path: PathBuf,
}

impl BuildTarget {
    fn claim(path: &Path) -> Result<Self> {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new(".")).canonicalize();
        let name = path.file_name().context("the target needs a name")?;
        let parent = parent.with_context(|| format!("{} has no parent", path.display()))?;
        let path = parent.join(name);
        if let Ok(mut entries) = fs::read_dir(&path) {
            // We empty this directory repeatedly, so refuse one that holds user data.
            ensure!(entries.next().is_none(), "{} is not empty", path.display());
        }
        Ok(Self { path })
    }

    fn make(&self) -> Result<()> {
        self.clear()?;
        Ok(fs::create_dir(&self.path)?)
    }

    fn clear(&self) -> Result<()> {
        workspace::remove_directory(&self.path)
    }
}

impl Drop for BuildTarget {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            eprintln!("cachefs-bench: could not clean up: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_with_something_in_it_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("target");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("precious"), "x").unwrap();
        BuildTarget::claim(&dir).unwrap_err();
        assert!(dir.join("precious").exists());
        fs::remove_file(dir.join("precious")).unwrap();
        let target = BuildTarget::claim(&dir).unwrap();
        target.make().unwrap();
        fs::write(dir.join("ours"), "x").unwrap();
        drop(target);
        assert!(!dir.exists());
        BuildTarget::claim(&temp.path().join("none/none")).unwrap_err();
    }
}
