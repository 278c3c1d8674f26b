//! The `cachefs` command, except for its `main`.
//!
//! `commands` has a module for each command. They use the modules below them: `caches` restores and
//! saves caches, `config` reads `cachefs.toml`, `keys` expands templates, `ci` detects CI systems,
//! `outputs` reports to them, `explain` explains misses, `detect` finds the caches of tools.
//! `global` has the global options. `integrations` has the services for other systems; each is a
//! cargo feature.

// Without integrations, some functions of these modules are unused.
#![cfg_attr(
    not(all(
        feature = "csi",
        feature = "volumes",
        feature = "hook",
        feature = "harness"
    )),
    allow(dead_code)
)]

mod args;
mod caches;
mod ci;
mod command_result;
mod commands;
mod config;
mod detect;
mod dispatch;
mod exec;
mod exit;
mod explain;
mod failure;
mod global;
mod help;
mod hints;
mod integrations;
mod json_output;
mod keys;
mod log;
mod machine_identity;
mod output;
mod output_file;
mod outputs;
mod progress;
// The reference documents the commands of every feature.
#[cfg(test)]
#[cfg(all(
    feature = "csi",
    feature = "volumes",
    feature = "hook",
    feature = "harness"
))]
mod reference;
mod setup;
mod stdout;
mod text;
mod working_directory;

use std::process::ExitCode;

use args::Cli;

/// Runs the command given by the arguments and the environment of this process.
pub fn run() -> ExitCode {
    #[cfg(feature = "harness")]
    if let Some(plan) = integrations::harness::plugin_plan() {
        return integrations::harness::execute_plan(plan);
    }
    let arguments: Vec<_> = std::env::args_os().collect();
    match config::parse_arguments::<Cli>(arguments.clone()) {
        Ok((cli, config)) => {
            output::start_log(&cli.global);
            dispatch::run_command(cli, &config)
        }
        Err(error) => {
            output::configure_unparsed(&arguments);
            match error.downcast::<clap::Error>() {
                Ok(error) => command_result::wrong_usage(&error),
                Err(error) => command_result::fail(&error, false),
            }
        }
    }
}
