//! The commands, one file each.

pub(crate) mod attach;
pub(crate) mod auto;
#[cfg(feature = "hook")]
pub(crate) mod cdi;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
#[cfg(feature = "csi")]
pub(crate) mod csi;
pub(crate) mod daemon;
pub(crate) mod delete;
pub(crate) mod detach;
pub(crate) mod detect;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod gc;
mod holder;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod lookup;
pub(crate) mod man;
#[cfg(feature = "hook")]
pub(crate) mod oci_hook;
pub(crate) mod promote;
pub(crate) mod restore;
pub(crate) mod save;
pub(crate) mod scopes;
pub(crate) mod stats;
pub(crate) mod umount;
#[cfg(feature = "volumes")]
pub(crate) mod volume_plugin;

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::args::{Cli, Command};
use crate::command_result::end;
use crate::config::Config;
use crate::global::Format;
use crate::output;

/// Runs the command; everything it has to say has been said when it returns.
pub(crate) fn run(cli: Cli, config: &Config) -> ExitCode {
    let global = cli.global;
    let uses_remote = matches!(
        cli.command,
        Command::Restore(_)
            | Command::Mount(_)
            | Command::Save(_)
            | Command::Auto(_)
            | Command::Exec(_)
    );
    let soft = uses_remote && !cli.command.fails_without_cache();
    config
        .notes(uses_remote)
        .iter()
        .for_each(|note| output::say(note));
    let outcome = match cli.command {
        command if global.format == Format::Prometheus && !matches!(command, Command::Stats(_)) => {
            Err(no_prometheus())
        }
        Command::Restore(args) => restore::run(&global, &args, config),
        Command::Mount(args) => restore::run_mount(&global, &args, config),
        Command::Save(args) => save::run(&global, &args, config),
        Command::Auto(args) => auto::run(&global, &args),
        Command::Exec(args) => exec::run(&global, &args, config),
        Command::Attach(args) => attach::run(&global, &args),
        Command::Detach(args) => detach::run(&global, &args),
        Command::Umount(args) => umount::run(&global, &args),
        Command::Lookup(args) => lookup::run(&global, &args),
        Command::List(args) => list::run(&global, &args),
        Command::Inspect(args) => inspect::run(&global, &args),
        Command::Diff(args) => diff::run(&global, &args),
        Command::Explain(args) => explain::run(&global, &args, config),
        Command::Delete(args) => delete::run(&global, &args),
        Command::Promote(args) => promote::run(&global, &args),
        Command::Scopes(args) => scopes::run(&global, &args),
        Command::Gc(args) => gc::run(&global, &args),
        Command::Import(args) => import::run(&global, &args),
        Command::Export(args) => export::run(&global, &args),
        Command::Check(args) => check::run(&global, &args),
        Command::Stats(args) => stats::run(&global, &args),
        Command::Key(args) => key::run(&global, &args),
        Command::Detect(args) => detect::run(&global, &args),
        Command::Config(args) => config::run(&global, &args, config),
        Command::Doctor(args) => doctor::run(&global, &args),
        #[cfg(feature = "csi")]
        Command::Csi(args) => csi::run(&global, &args, Cli::command()),
        Command::Daemon(args) => daemon::run(&global, &args),
        #[cfg(feature = "volumes")]
        Command::VolumePlugin(args) => volume_plugin::run(&global, &args, config),
        #[cfg(feature = "hook")]
        Command::OciHook(args) => oci_hook::run(&global, &args, config),
        #[cfg(feature = "hook")]
        Command::Cdi(args) => cdi::run(&global, &args, config),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Man(args) => man::run(&args, Cli::command()),
    };
    end(&global, outcome, soft)
}

fn no_prometheus() -> anyhow::Error {
    let hint = "use --format json";
    cachefs::Error::usage("only `stats` prints the Prometheus format", hint).into()
}
