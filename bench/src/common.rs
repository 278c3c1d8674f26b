//! Options, setup and report output shared by all measurements.

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
    /// Number of runs
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) runs: u16,
    /// The work directory; needs room for several copies of the directories [default: the directory
    /// for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) work: Option<PathBuf>,
    /// The `cachefs` program to measure [default: the one next to this program, or the one in PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) cachefs: Option<PathBuf>,
}

/// Report files to write in addition to stdout.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Output {
    /// Also write the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Also write the results to this file, as an HTML page with charts
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

impl Output {
    /// Prints the report to stdout and writes the requested files.
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

/// Resources that exist for the whole measurement and are removed on drop.
#[derive(Debug)]
pub(crate) struct Setup {
    // Fields drop in declaration order: the remote may live in the workspace, so it goes first.
    /// The remote that all stores save to.
    pub(crate) target: BenchRemote,
    /// The work directory.
    pub(crate) workspace: Workspace,
    /// Path of the `cachefs` program.
    pub(crate) program: PathBuf,
    /// Number of runs.
    pub(crate) runs: u16,
}

impl Setup {
    /// Finds the program, creates the work directory and opens the remote.
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

    /// The facts of the machine, including the versions of cachefs and the given programs.
    pub(crate) fn machine(&self, mut programs: Vec<String>) -> Result<Machine> {
        programs.push(CachefsProgram::version(&self.program)?);
        let mut directories = vec![MachineDirectory::inspect("work", self.workspace.path())?];
        if let Some(remote) = self.target.directory().and_then(Path::parent) {
            // The program creates the directory on the first write; the filesystem lookup needs it
            // earlier.
            fs::create_dir_all(remote)?;
            directories.push(MachineDirectory::inspect("remote", remote)?);
        }
        Machine::inspect(directories, programs)
    }

    /// A new section that states the remote and the number of runs.
    pub(crate) fn section(&self, title: &str) -> ReportSection {
        let mut section = ReportSection::new(title);
        section.fact("remote", self.target.description());
        section.fact("runs", self.runs.to_string());
        section
    }

    /// A store over its own prefix in the remote; the store directory does not exist yet.
    pub(crate) fn store(&self, cachefs: &CachefsProgram, name: &str) -> Result<Store> {
        let dir = self.workspace.path().join(format!("store-{name}"));
        workspace::remove_directory(&dir)?;
        Ok(cachefs.store(dir))
    }
}

/// Prints the name of the next step, then calls `sync`, so that writeback of earlier data does not
/// slow down the measurement.
pub(crate) fn print_step(name: &str) -> Result<()> {
    crate::interrupt::check_interrupt()?;
    eprintln!("  {name}");
    rustix::fs::sync();
    Ok(())
}
