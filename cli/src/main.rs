//! The `cachefs` command.

mod args;
mod caches;
mod commands;
mod exit;
mod explain;
mod failure;
mod keys;
mod log;
mod machine;
mod output;
mod outputs;
mod progress;
mod setup;

use clap::Parser as _;

fn main() -> std::process::ExitCode {
    let cli = args::Cli::parse();
    output::start_log(&cli.global);
    commands::run(cli)
}
