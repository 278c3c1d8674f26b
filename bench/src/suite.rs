//! Runs all measurements and writes one report.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::common::{CommonArgs, Setup};
use crate::dataset::Versions;
use crate::hit_rate::Replay;
use crate::peers::PeerChoice;
use crate::report::{BenchReport, ReportSection};
use crate::scale::Limits;
use crate::tools::tar;
use crate::{compare, hit_rate, peers, scale};

/// Options of the suite. Without `--remote`, every measurement that uses a remote runs twice: on a
/// directory, and on a local S3 server with 30 ms latency and 100 MB/s.
#[derive(Debug, clap::Args)]
pub(crate) struct SuiteOptions {
    #[command(flatten)]
    versions: Versions,
    /// Output directory for `results.json` and `report.html`; created if missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Skip these parts
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    without: Vec<SuitePart>,
    #[command(flatten)]
    choice: PeerChoice,
    #[command(flatten)]
    replay: Replay,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    common: CommonArgs,
}

/// A part of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SuitePart {
    /// Detailed comparison with tar.
    Compare,
    /// Comparison with all other tools.
    Peers,
    /// Replay of a job history.
    HitRate,
    /// Growth of costs.
    Scale,
}

/// Runs the parts and rewrites both files after each, so that a failure loses no earlier results.
pub(crate) fn run_suite(options: &SuiteOptions) -> Result<()> {
    let out = &options.out;
    fs::create_dir_all(out).with_context(|| format!("could not make {}", out.display()))?;
    let remotes = options.common.remote.or_near_and_far();
    let mut report = BenchReport::new(suite_machine(options)?, Vec::new());
    for remote in remotes {
        let common = CommonArgs {
            remote,
            ..options.common.clone()
        };
        let mut part = |part: SuitePart, measure: &dyn Fn(&Setup) -> Result<ReportSection>| {
            if options.without.contains(&part) {
                return Ok(());
            }
            let setup = Setup::open(&common)?;
            let mut section = measure(&setup)?;
            section.title = format!("{}: {}", section.title, setup.target.description());
            add_section(&mut report, section, out)
        };
        part(SuitePart::Peers, &|setup| {
            peers::measure_peers(setup, &options.versions, &options.choice)
        })?;
        part(SuitePart::Compare, &|setup| {
            compare::measure_compare(setup, &options.versions)
        })?;
        part(SuitePart::Scale, &|setup| {
            scale::measure_scale(setup, &options.limits)
        })?;
    }
    if !options.without.contains(&SuitePart::HitRate) {
        let section = hit_rate::measure_hit_rate(&options.replay)?;
        add_section(&mut report, section, out)?;
    }
    write!(io::stdout(), "{report}").context("could not write the report")
}

fn suite_machine(options: &SuiteOptions) -> Result<crate::machine::Machine> {
    let setup = Setup::open(&options.common)?;
    let mut programs = peers::peer_versions(&setup, &options.choice)?;
    for program in tar::tar_versions()? {
        if !programs.contains(&program) {
            programs.push(program);
        }
    }
    setup.machine(programs)
}

fn add_section(
    report: &mut BenchReport,
    section: ReportSection,
    out: &std::path::Path,
) -> Result<()> {
    report.sections.push(section);
    report.write_json(&out.join("results.json"))?;
    report.write_html(&out.join("report.html"))
}
