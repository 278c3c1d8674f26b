//! The `cachefs` command.

mod args;
mod caches;
mod commands;
mod exit;
mod failure;
mod keys;
mod machine;
mod output;
mod plugin;
mod progress;
mod setup;

use clap::Parser as _;

fn main() -> std::process::ExitCode {
    if let Some(plan) = plugin::asked() {
        return plugin::execute(plan);
    }
    let cli = args::Cli::parse();
    output::start_log(&cli.global);
    commands::run(cli)
}
