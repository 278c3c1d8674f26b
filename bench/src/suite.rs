//! All measurements in one go, with one report.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::common::{Common, Setup};
use crate::hit_rate::Replay;
use crate::peers::Choice;
use crate::report::{Report, Section};
use crate::scale::Limits;
use crate::subject::Versions;
use crate::tools::tar;
use crate::{compare, hit_rate, peers, scale};

/// What to measure on what. Without `--remote`, everything that has a remote is done twice: on a
/// directory, and on an S3 server with 30 ms and 100 MB/s.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    versions: Versions,
    /// Where `results.json` and `report.html` go; made when it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Leave out parts
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    without: Vec<Part>,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    replay: Replay,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    common: Common,
}

/// A part of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
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
pub(crate) fn run(options: &Options) -> Result<()> {
    let out = &options.out;
    fs::create_dir_all(out).with_context(|| format!("could not make {}", out.display()))?;
    let remotes = options.common.remote.or_near_and_far();
    let mut report = Report::new(machine(options)?, Vec::new());
    for remote in remotes {
        let common = Common {
            remote,
            ..options.common.clone()
        };
        let mut part = |part: Part, measure: &dyn Fn(&Setup) -> Result<Section>| {
            if options.without.contains(&part) {
                return Ok(());
            }
            let setup = Setup::open(&common)?;
            let mut section = measure(&setup)?;
            section.title = format!("{}: {}", section.title, setup.target.description());
            add(&mut report, section, out)
        };
        part(Part::Peers, &|setup| {
            peers::measure(setup, &options.versions, &options.choice)
        })?;
        part(Part::Compare, &|setup| {
            compare::measure(setup, &options.versions)
        })?;
        part(Part::Scale, &|setup| scale::measure(setup, &options.limits))?;
    }
    if !options.without.contains(&Part::HitRate) {
        let section = hit_rate::measure(&options.replay)?;
        add(&mut report, section, out)?;
    }
    write!(io::stdout(), "{report}").context("could not write the report")
}

fn machine(options: &Options) -> Result<crate::machine::Machine> {
    let setup = Setup::open(&options.common)?;
    let mut programs = peers::versions(&setup, &options.choice)?;
    for program in tar::versions()? {
        if !programs.contains(&program) {
            programs.push(program);
        }
    }
    setup.machine(programs)
}

fn add(report: &mut Report, section: Section, out: &std::path::Path) -> Result<()> {
    report.sections.push(section);
    report.write_json(&out.join("results.json"))?;
    report.write_html(&out.join("report.html"))
}
