//! The commands, one file each.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod daemon;
pub(crate) mod delete;
pub(crate) mod detect;
pub(crate) mod doctor;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod lookup;
pub(crate) mod restore;
pub(crate) mod save;
pub(crate) mod stats;
pub(crate) mod umount;

use std::process::ExitCode;

use cachefs_store::ErrorKind;

use crate::args::{Cli, Command, Global};
use crate::keys::KeyError;
use crate::{exit, output};

/// Runs the command; everything it has to say has been said when it returns.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let global = cli.global;
    let (outcome, soft) = match cli.command {
        Command::Restore(args) => (restore::run(&global, &args), true),
        Command::Save(args) => (save::run(&global, &args), true),
        Command::Umount(args) => (umount::run(&global, &args), false),
        Command::Lookup(args) => (lookup::run(&global, &args), false),
        Command::List(args) => (list::run(&global, &args), false),
        Command::Inspect(args) => (inspect::run(&global, &args), false),
        Command::Delete(args) => (delete::run(&global, &args), false),
        Command::Check(args) => (check::run(&global, &args), false),
        Command::Stats(args) => (stats::run(&global, &args), false),
        Command::Key(args) => (key::run(&global, &args), false),
        Command::Detect(args) => (detect::run(&global, &args), false),
        Command::Doctor(args) => (doctor::run(&global, &args), false),
        Command::Daemon(args) => (daemon::run(&global, &args), false),
        Command::Completions(args) => (completions::run(&args), false),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => ExitCode::from(fail(&global, &error, soft)),
    }
}

/// Reports an error; returns the exit code.
fn fail(global: &Global, error: &anyhow::Error, soft: bool) -> u8 {
    if let Some(error) = error.downcast_ref::<KeyError>() {
        output::say(&format!("error: {error}\n\n{}\n", error.pointer()));
        output::say(&format!("  hint: {}", error.hint()));
        return exit::USAGE;
    }
    let (kind, message, hint) = match error.downcast_ref::<cachefs::Error>() {
        Some(known) => (known.kind(), cachefs::describe(known), known.hint()),
        None => (ErrorKind::Local, format!("{error:#}"), None),
    };
    if kind == ErrorKind::Cancelled {
        output::say(output::INTERRUPTED);
        return exit::INTERRUPTED;
    }
    let passes = soft && !global.strict_errors && exit::is_soft(kind);
    if !passes {
        output::complain("error", &message, hint.as_deref());
        return exit::code(kind);
    }
    output::complain("warning", &message, hint.as_deref());
    output::say("  the build goes on without the cache (use --strict-errors to stop it here)");
    exit::SUCCESS
}
