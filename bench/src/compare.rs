//! cachefs against `tar | zstd`: the steps of the comparison.
//!
//! Each run executes all steps of both tools, one after the other, so that a temporary disturbance
//! of the machine affects both.

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

/// Key of the first version.
const V1: &str = "bench-v1";
/// Key of the second version.
const V2: &str = "bench-v2";
/// Key of a tiny cache whose restore starts a daemon.
const TINY: &str = "bench-tiny";

/// The directories to compare on.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareBenchOptions {
    #[command(flatten)]
    versions: Versions,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    output: Output,
}

/// The state of one run.
struct CompareRun<'a> {
    setup: &'a Setup,
    subject: &'a BenchSubject,
    place: RemotePrefix<'a>,
    recorder: &'a mut RowRecorder,
}

/// Runs the comparison and prints the report to stdout.
pub(crate) fn run_compare(options: &CompareBenchOptions) -> Result<()> {
    let programs = tar_tool::tar_versions()?;
    let setup = Setup::open(&options.common)?;
    let machine = setup.machine(programs)?;
    let section = measure_compare(&setup, &options.versions)?;
    options
        .output
        .write(&BenchReport::new(machine, vec![section]))
}

/// Runs the comparison `setup.runs` times.
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
        // The other way to save v2 must not reuse the data of this one.
        self.place.keep_only(&kept)?;
        self.save_plain(&mut first, &kept)?;
        first.close()
    }

    /// A store whose directory does not exist yet.
    fn store(&self, name: &str) -> Result<Store> {
        self.setup
            .store(&self.place.cachefs(&self.setup.program), name)
    }

    /// Records the peak memory of the store's daemon, if one is running.
    fn daemon_memory(&mut self, label: &'static str, store: &Store) -> Result<()> {
        if let Some(peak) = store.daemon_memory()? {
            self.recorder.bytes(quantity::MEMORY, label, peak);
        }
        Ok(())
    }

    /// Runs one command and records its remote traffic. If we run the server and its request count
    /// differs from the count that cachefs reports, adds a note.
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
