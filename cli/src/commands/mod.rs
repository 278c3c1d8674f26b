//! The commands, one file each.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod daemon;
pub(crate) mod delete;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod lookup;
pub(crate) mod man;
pub(crate) mod restore;
pub(crate) mod save;
pub(crate) mod stats;
pub(crate) mod umount;

use std::process::ExitCode;

use crate::args::{Cli, Command, Global};
use crate::failure::failure;
use crate::{exit, output};

/// Runs the command; everything it has to say has been said when it returns.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let global = cli.global;
    let (outcome, soft) = match cli.command {
        Command::Restore(args) => (restore::run(&global, &args), true),
        Command::Mount(args) => (restore::run_mount(&global, args), true),
        Command::Save(args) => (save::run(&global, &args), true),
        Command::Umount(args) => (umount::run(&global, &args), false),
        Command::Lookup(args) => (lookup::run(&global, &args), false),
        Command::List(args) => (list::run(&global, &args), false),
        Command::Inspect(args) => (inspect::run(&global, &args), false),
        Command::Delete(args) => (delete::run(&global, &args), false),
        Command::Import(args) => (import::run(&global, &args), false),
        Command::Export(args) => (export::run(&global, &args), false),
        Command::Check(args) => (check::run(&global, &args), false),
        Command::Stats(args) => (stats::run(&global, &args), false),
        Command::Key(args) => (key::run(&global, &args), false),
        Command::Doctor(args) => (doctor::run(&global, &args), false),
        Command::Daemon(args) => (daemon::run(&global, &args), false),
        Command::Completions(args) => (completions::run(&args), false),
        Command::Man(args) => (man::run(&args), false),
    };
    end(&global, outcome, soft)
}

/// Says what went wrong, if something did; `soft` says that the command passes over what a build
/// can live with.
pub(crate) fn end(global: &Global, outcome: anyhow::Result<u8>, soft: bool) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let failure = failure(global, &error, soft);
            if failure.code == exit::INTERRUPTED {
                output::say(output::INTERRUPTED);
            }
            for line in &failure.lines {
                output::say(line);
            }
            ExitCode::from(failure.code)
        }
    }
}
