//! Benchmarks of cachefs from outside: the `cachefs` program against what users would pick
//! instead, on their own directories, in one run.

mod compare;
mod interrupt;
mod machine;
mod measure;
mod mounts;
mod remote;
mod report;
mod tools;
mod work;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

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
    Compare(Box<compare::Options>),
    /// Be the S3 server of `--remote s3-local`.
    #[command(hide = true)]
    S3Server(remote::ServerOptions),
    /// Carry a stream to a remote or back.
    #[command(hide = true)]
    Transfer(remote::TransferOptions),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cachefs-bench: {error:#}");
            ExitCode::from(if interrupt::seen() { INTERRUPTED } else { 1 })
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Compare(options) => {
            interrupt::listen()?;
            compare::run(&options)
        }
        Command::S3Server(options) => remote::serve(&options),
        Command::Transfer(options) => remote::transfer(&options),
    }
}
