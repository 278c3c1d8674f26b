//! cachefs against `tar | zstd`: the plan of a comparison.
//!
//! Everything is done in every run, one tool after the other, so that what disturbs the machine
//! for a while disturbs both.

mod read;
mod recorder;
mod restore;
mod save;
mod tar;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::interrupt;
use crate::machine::{Directory, Machine};
use crate::measure::Unit;
use crate::remote::{Place, RemoteOptions, Target};
use crate::report::Subject;
use crate::tools::answer::Traffic;
use crate::tools::cachefs::{Cachefs, Store};
use crate::tools::tar as tar_tool;
use crate::work::{Totals, find, sync};
use crate::workspace::Workspace;
use recorder::{Group, Recorder};

/// The key of the first version.
const V1: &str = "bench-v1";
/// The key of the second version.
const V2: &str = "bench-v2";
/// The key of a cache that only makes a daemon start.
const TINY: &str = "bench-tiny";

/// What to compare.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A directory as it is cached first
    #[arg(long, value_name = "DIR")]
    v1: PathBuf,
    /// The same directory after some changes
    #[arg(long, value_name = "DIR")]
    v2: PathBuf,
    #[command(flatten)]
    remote: RemoteOptions,
    /// How often everything is done
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Write the results here too, for programs
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to work; needs room for about six copies of the directory [default: the directory for
    /// temporary files]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// The program to measure [default: the one beside this program, or that in PATH]
    #[arg(long, value_name = "FILE")]
    cachefs: Option<PathBuf>,
}

/// One version of the directory.
#[derive(Debug, Clone)]
struct Version {
    /// Where the user has it.
    origin: PathBuf,
    totals: Totals,
}

/// What stays the same over the runs.
#[derive(Debug)]
struct Bench {
    program: PathBuf,
    workspace: Workspace,
    /// The directory that is saved: a copy of the one version or the other.
    plain: PathBuf,
    v1: Version,
    v2: Version,
    /// The file of the first version that is read alone.
    typical: PathBuf,
}

/// One run.
struct Run<'a> {
    bench: &'a Bench,
    target: &'a Target,
    place: Place<'a>,
    recorder: &'a mut Recorder,
}

/// Compares, and tells what came out on standard output.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut programs = tar_tool::versions()?;
    let program = Cachefs::find(options.cachefs.as_deref())?;
    programs.push(Cachefs::version(&program)?);
    // The order matters: what is dropped first needs what is dropped last.
    let bench = Bench::prepare(options, program)?;
    let target = Target::open(&options.remote, &bench.workspace)?;
    let machine = Machine::inspect(bench.directories(&target)?, programs)?;

    let mut recorder = Recorder::default();
    for number in 1..=options.runs {
        eprintln!("run {number} of {}", options.runs);
        let mut run = Run {
            bench: &bench,
            target: &target,
            place: target.place(&format!("run-{number}"))?,
            recorder: &mut recorder,
        };
        run.everything()?;
    }

    let subject = Subject {
        v1: bench.v1.totals,
        v2: bench.v2.totals,
        remote: target.description().to_owned(),
        runs: options.runs.into(),
    };
    let report = recorder.report(machine, subject);
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| format!("could not write {}", path.display()))?;
    }
    write!(io::stdout(), "{report}").context("could not write the report")
}

impl Bench {
    fn prepare(options: &Options, program: PathBuf) -> Result<Self> {
        let version = |dir: &Path| -> Result<Version> {
            let origin = dir.canonicalize();
            let origin = origin.with_context(|| format!("{} cannot be used", dir.display()))?;
            let (_, totals) = find::find(&origin)?;
            Ok(Version { origin, totals })
        };
        let (v1, v2) = (version(&options.v1)?, version(&options.v2)?);
        let typical = find::typical_file(&v1.origin)?;
        let typical = typical.context("the first version has no file with content")?;
        let workspace = Workspace::create(options.work.as_deref())?;
        let mut bench = Self {
            program,
            plain: workspace.fresh("plain")?,
            workspace,
            v1,
            v2,
            typical,
        };
        // What cannot be copied is left out for both sides alike.
        for second in [true, false] {
            bench.bring_plain_to(second)?;
            let (_, totals) = find::find(&bench.plain)?;
            let version = if second { &mut bench.v2 } else { &mut bench.v1 };
            ensure!(
                (totals.files, totals.bytes) == (version.totals.files, version.totals.bytes),
                "{} changed while it was copied",
                version.origin.display()
            );
            version.totals = totals;
        }
        Ok(bench)
    }

    /// Makes the directory that is saved a copy of the first version or the second.
    fn bring_plain_to(&self, second: bool) -> Result<sync::Changes> {
        let version = if second { &self.v2 } else { &self.v1 };
        sync::sync(&version.origin, &self.plain)
    }

    fn directories(&self, target: &Target) -> Result<Vec<Directory>> {
        let mut directories = vec![
            Directory::inspect("v1", &self.v1.origin)?,
            Directory::inspect("v2", &self.v2.origin)?,
            Directory::inspect("work", self.workspace.path())?,
        ];
        if let Some(remote) = target.directory().and_then(Path::parent) {
            directories.push(Directory::inspect("remote", remote)?);
        }
        Ok(directories)
    }
}

impl Run<'_> {
    fn everything(&mut self) -> Result<()> {
        let bench = self.bench;
        bench.bring_plain_to(false)?;
        self.settle();
        let archive = self.tar_save(V1)?;
        let mut first = self.save_first()?;
        self.tar_restore(archive)?;
        self.walk_plain()?;
        self.restore_copy()?;
        let kept = self.add_tiny(&first)?;
        first.stop()?;
        self.restore_without_daemon()?;
        self.restore_with_daemon()?;
        self.read_through_mount()?;
        self.read_with_one_thread()?;

        bench.bring_plain_to(true)?;
        self.settle();
        self.tar_save(V2)?;
        self.save_through_mount(&kept)?;
        // The other way to save the second version must not find this one's data.
        self.place.keep_only(&kept)?;
        self.save_plain(&mut first, &kept)?;
        first.close()
    }

    /// Says what comes next, and lets what was written before come to rest.
    fn step(&self, name: &str) -> Result<()> {
        interrupt::check()?;
        eprintln!("  {name}");
        self.settle();
        Ok(())
    }

    /// Writing back what an earlier step wrote must not slow down a later one.
    fn settle(&self) {
        rustix::fs::sync();
    }

    /// A store directory that does not exist yet.
    fn store(&self, name: &str) -> Result<Store> {
        let dir = self.bench.workspace.path().join(format!("store-{name}"));
        crate::workspace::remove(&dir)?;
        Ok(self.place.cachefs(&self.bench.program).store(dir))
    }

    /// Notes how large the daemon of a store has become, if there is one.
    fn daemon_memory(&mut self, label: &'static str, store: &Store) -> Result<()> {
        if let Some(peak) = store.daemon_memory()? {
            self.recorder.bytes(Group::Memory, label, peak);
        }
        Ok(())
    }

    /// Runs one command and notes what it asked of the remote; a server of our own must have seen
    /// as many requests.
    fn with_traffic<T>(
        &mut self,
        label: &'static str,
        step: impl FnOnce(&mut Self) -> Result<(T, Traffic)>,
    ) -> Result<T> {
        self.place.requests_served()?;
        let (value, traffic) = step(self)?;
        if let Some(served) = self.place.requests_served()?
            && served != traffic.requests.total()
        {
            self.recorder.note(format!(
                "{label}: cachefs counted {} requests, the server {served} until the command ended",
                traffic.requests.total()
            ));
        }
        self.recorder.traffic(label, traffic);
        Ok(value)
    }
}

/// Fails when a tree does not hold what was saved.
fn verify(what: &str, found: Totals, wanted: Totals) -> Result<()> {
    let show = |totals: Totals| {
        let bytes = Unit::Bytes.show(totals.bytes as f64);
        format!("{} files with {} ({bytes})", totals.files, totals.bytes)
    };
    ensure!(
        (found.files, found.bytes) == (wanted.files, wanted.bytes),
        "{what} has {} and should have {}",
        show(found),
        show(wanted)
    );
    Ok(())
}

/// Fails when two trees differ in content, modes or owners.
fn verify_content(what: &str, wanted: &Path, restored: &Path) -> Result<()> {
    let changes = sync::sync(wanted, restored)?;
    ensure!(
        changes.is_empty(),
        "{what} differs from what was saved: {changes:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_that_lacks_something_is_told() {
        let wanted = Totals {
            entries: 9,
            files: 2,
            bytes: 10,
        };
        verify(
            "x",
            Totals {
                entries: 3,
                ..wanted
            },
            wanted,
        )
        .unwrap();
        let error = verify("x", Totals { bytes: 9, ..wanted }, wanted).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x has 2 files with 9 (9 B) and should have 2 files with 10 (10 B)"
        );
        verify("x", Totals { files: 1, ..wanted }, wanted).unwrap_err();
    }
}
