//! Benchmarks of the `cachefs` program against the tools that you would use instead, run on your
//! own directories.

mod build_runs;
mod common;
mod compare;
mod dataset;
mod fio;
mod hit_rate;
mod interrupt;
mod machine;
mod measure;
mod mounts;
mod peers;
mod recorder;
mod remote;
mod report;
mod scale;
mod soak;
mod suite;
mod tools;
mod work;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use report::BenchReport;

/// Exit status that shells report after Ctrl-C: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Compare cachefs with other ways to cache directories
#[derive(Debug, Parser)]
#[command(name = "cachefs-bench", version)]
struct BenchCli {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Save, restore and read two versions of a directory with cachefs, and with tar and zstd
    Compare(Box<compare::CompareBenchOptions>),
    /// Save, restore and read two versions of a directory with cachefs and every other installed
    /// tool
    Peers(Box<peers::PeersOptions>),
    /// Replay a job history against key schemes and retention policies
    HitRate(Box<hit_rate::HitRateOptions>),
    /// Measure how costs grow with files, bytes, layers, keys and jobs
    Scale(Box<scale::ScaleOptions>),
    /// Restore a cache and run a command on it, compared with an archive
    Builds(Box<build_runs::BuildsOptions>),
    /// Read from many mounts of one daemon for a long time, and check for leaks and wrong bytes
    Soak(Box<soak::SoakOptions>),
    /// Write to a mount with fio, and verify the files there and after a save and restore
    Fio(Box<fio::FioOptions>),
    /// Run compare, peers, hit-rate and scale, and write the results as an HTML page with charts
    Suite(Box<suite::SuiteOptions>),
    /// Render the HTML page from the JSON results of an earlier run
    Report(Render),
    /// Run the S3 server behind `--remote s3-local`
    #[command(hide = true)]
    S3Server(remote::ServerOptions),
    /// Copy stdin to a remote, or a remote to stdout
    #[command(hide = true)]
    Transfer(remote::TransferOptions),
}

/// The results to render.
#[derive(Debug, clap::Args)]
struct Render {
    /// The JSON results of any of these commands
    #[arg(long, value_name = "FILE")]
    json: PathBuf,
    /// The HTML page to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run_bench(BenchCli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cachefs-bench: {error:#}");
            ExitCode::from(if interrupt::signal_seen() {
                INTERRUPTED
            } else {
                1
            })
        }
    }
}

fn run_bench(cli: BenchCli) -> Result<()> {
    // These helpers exit when their stdin closes, so they need no signal handler.
    if !matches!(
        cli.command,
        BenchCommand::S3Server(_) | BenchCommand::Transfer(_)
    ) {
        interrupt::listen_for_signals()?;
    }
    match cli.command {
        BenchCommand::Compare(options) => compare::run_compare(&options),
        BenchCommand::Peers(options) => peers::run_peers(&options),
        BenchCommand::HitRate(options) => hit_rate::run_hit_rate(&options),
        BenchCommand::Scale(options) => scale::run_scale(&options),
        BenchCommand::Builds(options) => build_runs::run_builds(&options),
        BenchCommand::Soak(options) => soak::run_soak(&options),
        BenchCommand::Fio(options) => fio::run_fio_bench(&options),
        BenchCommand::Suite(options) => suite::run_suite(&options),
        BenchCommand::Report(Render { json, out }) => BenchReport::read(&json)?.write_html(&out),
        BenchCommand::S3Server(options) => remote::serve_s3(&options),
        BenchCommand::Transfer(options) => remote::run_transfer(&options),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_option_means_two_things() {
        BenchCli::command().debug_assert();
    }
}
