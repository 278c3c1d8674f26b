//! What all measurements share: options, the place where they work, and where the report goes.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::machine::{Machine, MachineDirectory};
use crate::remote::{BenchRemote, RemoteOptions};
use crate::report::{BenchReport, ReportSection};
use crate::tools::cachefs::{CachefsProgram, Store};
use crate::workspace::{self, Workspace};

/// Where and how often to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CommonArgs {
    #[command(flatten)]
    pub(crate) remote: RemoteOptions,
    /// How often everything is done
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) runs: u16,
    /// Where to work; needs room for some copies of the directories [default: the directory for
    /// temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) work: Option<PathBuf>,
    /// The program to measure [default: the one beside this program, or that in PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) cachefs: Option<PathBuf>,
}

/// Where results go besides standard output.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Output {
    /// Write the results here too, for programs
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the results here too, as a page with charts
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

impl Output {
    /// Writes a report wherever it is wanted.
    pub(crate) fn write(&self, report: &BenchReport) -> Result<()> {
        if let Some(path) = &self.json {
            report.write_json(path)?;
        }
        if let Some(path) = &self.html {
            report.write_html(path)?;
        }
        write!(io::stdout(), "{report}").context("could not write the report")
    }
}

/// What is ready before anything is measured, and gone afterwards.
#[derive(Debug)]
pub(crate) struct Setup {
    // The order matters: what is dropped first needs what is dropped last.
    /// The remote.
    pub(crate) target: BenchRemote,
    /// Where everything else is.
    pub(crate) workspace: Workspace,
    /// The program to measure.
    pub(crate) program: PathBuf,
    /// How often everything is done.
    pub(crate) runs: u16,
}

impl Setup {
    /// Finds the program, makes the work directory and opens the remote.
    pub(crate) fn open(options: &CommonArgs) -> Result<Self> {
        let program = CachefsProgram::find(options.cachefs.as_deref())?;
        let workspace = Workspace::create(options.work.as_deref())?;
        let target = BenchRemote::open(&options.remote, &workspace)?;
        Ok(Self {
            target,
            workspace,
            program,
            runs: options.runs,
        })
    }

    /// The facts of the machine, with the versions of these programs and of cachefs.
    pub(crate) fn machine(&self, mut programs: Vec<String>) -> Result<Machine> {
        programs.push(CachefsProgram::version(&self.program)?);
        let mut directories = vec![MachineDirectory::inspect("work", self.workspace.path())?];
        if let Some(remote) = self.target.directory().and_then(Path::parent) {
            // The program makes it when it is first written to.
            fs::create_dir_all(remote)?;
            directories.push(MachineDirectory::inspect("remote", remote)?);
        }
        Machine::inspect(directories, programs)
    }

    /// A section that says on what remote and how often it was measured.
    pub(crate) fn section(&self, title: &str) -> ReportSection {
        let mut section = ReportSection::new(title);
        section.fact("remote", self.target.description());
        section.fact("runs", self.runs.to_string());
        section
    }

    /// A store directory that does not exist yet, over a place in the remote.
    pub(crate) fn store(&self, cachefs: &CachefsProgram, name: &str) -> Result<Store> {
        let dir = self.workspace.path().join(format!("store-{name}"));
        workspace::remove_directory(&dir)?;
        Ok(cachefs.store(dir))
    }
}

/// Says what comes next, and lets what was written before come to rest: writing that back must not
/// slow down a later step.
pub(crate) fn print_step(name: &str) -> Result<()> {
    crate::interrupt::check_interrupt()?;
    eprintln!("  {name}");
    rustix::fs::sync();
    Ok(())
}
