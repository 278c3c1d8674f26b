//! cachefs against `tar | zstd`: the plan of a comparison.
//!
//! Everything is done in every run, one tool after the other, so that what disturbs the machine
//! for a while disturbs both.

mod quantity;
mod read;
mod restore;
mod save;
mod tar;

use anyhow::Result;

use crate::common::{CommonArgs, Output, Setup};
use crate::dataset::{BenchSubject, Versions};
use crate::recorder::RowRecorder;
use crate::remote::RemotePrefix;
use crate::report::{BenchReport, ReportSection};
use crate::tools::cachefs::Store;
use crate::tools::json_answer::AnswerTraffic;
use crate::tools::tar as tar_tool;

/// The key of the first version.
const V1: &str = "bench-v1";
/// The key of the second version.
const V2: &str = "bench-v2";
/// The key of a cache that only makes a daemon start.
const TINY: &str = "bench-tiny";

/// What to compare.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareBenchOptions {
    #[command(flatten)]
    versions: Versions,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    output: Output,
}

/// One run.
struct CompareRun<'a> {
    setup: &'a Setup,
    subject: &'a BenchSubject,
    place: RemotePrefix<'a>,
    recorder: &'a mut RowRecorder,
}

/// Compares, and tells what came out on standard output.
pub(crate) fn run_compare(options: &CompareBenchOptions) -> Result<()> {
    let programs = tar_tool::tar_versions()?;
    let setup = Setup::open(&options.common)?;
    let machine = setup.machine(programs)?;
    let section = measure_compare(&setup, &options.versions)?;
    options
        .output
        .write(&BenchReport::new(machine, vec![section]))
}

/// Does everything as often as wanted.
pub(crate) fn measure_compare(setup: &Setup, versions: &Versions) -> Result<ReportSection> {
    let subject = BenchSubject::prepare(&setup.workspace, versions)?;
    let mut recorder = RowRecorder::new(&quantity::ORDER);
    for number in 1..=setup.runs {
        eprintln!("compare: run {number} of {}", setup.runs);
        let mut run = CompareRun {
            setup,
            subject: &subject,
            place: setup.target.place(&format!("run-{number}"))?,
            recorder: &mut recorder,
        };
        run.everything()?;
    }
    let mut section = setup.section("cachefs and tar in detail");
    subject.describe(&mut section);
    recorder.finish(&mut section);
    Ok(section)
}

impl CompareRun<'_> {
    fn everything(&mut self) -> Result<()> {
        let subject = self.subject;
        subject.bring_plain_to(false)?;
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

        subject.bring_plain_to(true)?;
        self.tar_save(V2)?;
        self.save_through_mount(&kept)?;
        // The other way to save the second version must not find this one's data.
        self.place.keep_only(&kept)?;
        self.save_plain(&mut first, &kept)?;
        first.close()
    }

    /// A store directory that does not exist yet.
    fn store(&self, name: &str) -> Result<Store> {
        self.setup
            .store(&self.place.cachefs(&self.setup.program), name)
    }

    /// Notes how large the daemon of a store has become, if there is one.
    fn daemon_memory(&mut self, label: &'static str, store: &Store) -> Result<()> {
        if let Some(peak) = store.daemon_memory()? {
            self.recorder.bytes(quantity::MEMORY, label, peak);
        }
        Ok(())
    }

    /// Runs one command and notes what it asked of the remote; a server of our own must have seen
    /// as many requests.
    fn with_traffic<T>(
        &mut self,
        label: &'static str,
        step: impl FnOnce(&mut Self) -> Result<(T, AnswerTraffic)>,
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
