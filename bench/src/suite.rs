//! All measurements in one go, with one report.

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

/// What to measure on what. Without `--remote`, everything that has a remote is done twice: on a
/// directory, and on an S3 server with 30 ms and 100 MB/s.
#[derive(Debug, clap::Args)]
pub(crate) struct SuiteOptions {
    #[command(flatten)]
    versions: Versions,
    /// Where `results.json` and `report.html` go; made when it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Leave out parts
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
    /// cachefs and tar in detail.
    Compare,
    /// Everything else that caches directories.
    Peers,
    /// A history replayed.
    HitRate,
    /// How costs grow.
    Scale,
}

/// Measures, and writes both files after each part, so that a failure costs only what comes after it.
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
