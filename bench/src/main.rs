//! Benchmarks of cachefs from outside: the `cachefs` program against what users would pick
//! instead, on their own directories, in one run.

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

/// What a shell gives a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Measure cachefs against what you would use instead.
#[derive(Debug, Parser)]
#[command(name = "cachefs-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Save, restore and read two versions of a directory with cachefs and with tar and zstd.
    Compare(Box<compare::CompareBenchOptions>),
    /// Save, restore and read two versions of a directory with everything that can do so.
    Peers(Box<peers::PeersOptions>),
    /// Replay a history of jobs against schemes of keys and ways to keep caches.
    HitRate(Box<hit_rate::HitRateOptions>),
    /// Measure how costs grow with files, bytes, layers, keys and jobs.
    Scale(Box<scale::ScaleOptions>),
    /// Restore a cache and run a command on it, against the same with an archive.
    Builds(Box<build_runs::BuildsOptions>),
    /// Read from many mounts of one daemon for a long time, and look for leaks and wrong bytes.
    Soak(Box<soak::SoakOptions>),
    /// Have fio write to a mount and verify it, there and where it was saved to.
    Fio(Box<fio::FioOptions>),
    /// Compare, peers, hit-rate and scale in one go, and write the results as a page with charts.
    Suite(Box<suite::SuiteOptions>),
    /// Make the page with charts from results that were written earlier.
    Report(Render),
    /// Be the S3 server of `--remote s3-local`.
    #[command(hide = true)]
    S3Server(remote::ServerOptions),
    /// Carry a stream to a remote or back.
    #[command(hide = true)]
    Transfer(remote::TransferOptions),
}

/// What to make a page of.
#[derive(Debug, clap::Args)]
struct Render {
    /// The results, as any command here writes them
    #[arg(long, value_name = "FILE")]
    json: PathBuf,
    /// The page
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run_bench(Cli::parse()) {
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

fn run_bench(cli: Cli) -> Result<()> {
    // The helpers end with their input.
    if !matches!(cli.command, Command::S3Server(_) | Command::Transfer(_)) {
        interrupt::listen_for_signals()?;
    }
    match cli.command {
        Command::Compare(options) => compare::run_compare(&options),
        Command::Peers(options) => peers::run_peers(&options),
        Command::HitRate(options) => hit_rate::run_hit_rate(&options),
        Command::Scale(options) => scale::run_scale(&options),
        Command::Builds(options) => build_runs::run_builds(&options),
        Command::Soak(options) => soak::run_soak(&options),
        Command::Fio(options) => fio::run_fio_bench(&options),
        Command::Suite(options) => suite::run_suite(&options),
        Command::Report(Render { json, out }) => BenchReport::read(&json)?.write_html(&out),
        Command::S3Server(options) => remote::serve_s3(&options),
        Command::Transfer(options) => remote::run_transfer(&options),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_option_means_two_things() {
        Cli::command().debug_assert();
    }
}
