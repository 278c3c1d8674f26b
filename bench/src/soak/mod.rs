//! Long load on one daemon with many mounts and readers, to find leaks and wrong bytes.
//!
//! Readers compare every byte with the saved content. Meanwhile mounts are replaced, changed,
//! saved, and restored from the result. We sample the daemon's resource usage throughout and judge
//! it at the end.

mod churn;
mod daemon_figures;
mod end;
mod kills;
mod mount_slots;
mod readers;
mod tally;
mod verdict;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::common::{CommonArgs, Output, Setup, print_step};
use crate::interrupt;
use crate::remote::RemoteOptions;
use crate::report::{BenchReport, ReportSection};
use daemon_figures::{Figures, Sampled};
use mount_slots::{Slots, SoakContents};
use tally::Tally;
use verdict::Verdict;

/// Threads that replace mounts.
const CHURNERS: usize = 2;
/// Number of samples in a run, unless the run is too short.
const SAMPLES: u32 = 240;
/// Minimum interval between samples.
const SHORTEST: Duration = Duration::from_secs(1);

/// Load and duration of a soak.
#[derive(Debug, clap::Args)]
pub(crate) struct SoakOptions {
    /// Number of concurrent mounts
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    mounts: u16,
    /// Number of reader threads
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    readers: u16,
    /// Duration of the load, in minutes
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    minutes: f64,
    /// Kill the daemon's worker at this interval, in seconds; 0 disables kills
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    kill_every: f64,
    #[command(flatten)]
    remote: RemoteOptions,
    /// The work directory; needs 1 GB [default: the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    work: Option<std::path::PathBuf>,
    /// The `cachefs` program to measure [default: the one next to this program, or the one in PATH]
    #[arg(long, value_name = "FILE")]
    cachefs: Option<std::path::PathBuf>,
    #[command(flatten)]
    output: Output,
    /// Also write the curves to this file, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<std::path::PathBuf>,
}

/// Runs the soak and prints the report to stdout. Returns an error unless the verdict is good.
pub(crate) fn run_soak(options: &SoakOptions) -> Result<()> {
    ensure!(
        options.minutes.is_finite() && options.minutes > 0.0,
        "--minutes is no time"
    );
    ensure!(
        options.kill_every.is_finite() && options.kill_every >= 0.0,
        "--kill-every is no time"
    );
    let setup = Setup::open(&CommonArgs {
        remote: options.remote.clone(),
        runs: 1,
        work: options.work.clone(),
        cachefs: options.cachefs.clone(),
    })?;
    let machine = setup.machine(Vec::new())?;
    let (section, verdict) = measure_soak(&setup, options)?;
    let report = BenchReport::new(machine, vec![section]);
    if let Some(path) = &options.svg {
        report.write_curves(path)?;
    }
    options.output.write(&report)?;
    ensure!(verdict.is_good(), "{verdict}");
    Ok(())
}

fn measure_soak(setup: &Setup, options: &SoakOptions) -> Result<(ReportSection, Verdict)> {
    let duration = Duration::from_secs_f64(options.minutes * 60.0);
    print_step("make and save what is mounted")?;
    let place = setup.target.place("soak")?;
    let cachefs = place.cachefs(&setup.program);
    let mut store = setup.store(&cachefs, "soak")?;
    let contents = SoakContents::make(setup, &store)?;
    print_step("mount")?;
    let slots = Slots::mount(setup, &mut store, &contents, usize::from(options.mounts))?;
    let daemon = store.daemon().context("no daemon is running")?;

    print_step(&format!("read for {} minutes", options.minutes))?;
    let tally = Tally::default();
    let stop = AtomicBool::new(false);
    let sampled = thread::scope(|scope| {
        for number in 0..options.readers {
            let (slots, tally, stop) = (&slots, &tally, &stop);
            scope.spawn(move || readers::read_mounts(slots, tally, u64::from(number), stop));
        }
        for number in 0..CHURNERS {
            let (slots, tally, stop, store) = (&slots, &tally, &stop, &store);
            let contents = &contents;
            scope.spawn(move || churn::run_churn(slots, contents, store, tally, number, stop));
        }
        if options.kill_every > 0.0 {
            let (tally, stop) = (&tally, &stop);
            let every = Duration::from_secs_f64(options.kill_every);
            scope.spawn(move || kills::run_kills(daemon, every, tally, stop));
        }
        let sampled = watch_daemon(daemon, setup, &tally, duration);
        stop.store(true, Relaxed);
        sampled
    });
    let sampled = sampled?;
    print_step("unmount")?;
    slots.unmount(&store)?;
    let left = Figures::settled(daemon, setup.workspace.path())?;
    let is_same = store.daemon() == Some(daemon);
    let verdict = Verdict::of(&sampled, &left, &tally, is_same);
    Ok((
        soak_section(setup, options, &sampled, &left, &tally, &verdict),
        verdict,
    ))
}

/// Samples the daemon's usage until the time is over.
fn watch_daemon(daemon: u32, setup: &Setup, tally: &Tally, duration: Duration) -> Result<Sampled> {
    let start = Instant::now();
    let every = (duration / SAMPLES).max(SHORTEST);
    let mut sampled = Sampled::default();
    while start.elapsed() < duration {
        interrupt::check_interrupt()?;
        let figures = Figures::of(daemon, setup.workspace.path())?;
        sampled.add(start.elapsed(), figures, tally);
        thread::sleep(every);
    }
    Ok(sampled)
}

fn soak_section(
    setup: &Setup,
    options: &SoakOptions,
    sampled: &Sampled,
    left: &Figures,
    tally: &Tally,
    verdict: &Verdict,
) -> ReportSection {
    let mut section = ReportSection::new("soak");
    section.fact("remote", setup.target.description());
    section.fact("mounts", options.mounts.to_string());
    section.fact("readers", options.readers.to_string());
    section.fact("minutes", options.minutes.to_string());
    section.fact("caches", SoakContents::describe());
    section.fact("verdict", verdict.to_string());
    tally.describe(&mut section);
    section.curves = sampled.curves();
    section.tables.push(verdict.table(left));
    section.notes.extend(tally.complaints());
    section
}
