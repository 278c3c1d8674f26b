//! Dispatches the parsed command line to a command.

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::args::{Cli, Command};
use crate::command_result::end;
use crate::commands::*;
use crate::config::LoadedConfig;
use crate::global::OutputFormat;
use crate::output;

/// Runs the command, and prints all of its output.
pub(crate) fn run_command(cli: Cli, config: &LoadedConfig) -> ExitCode {
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
        .for_each(|note| output::log_text(note));
    let outcome = match cli.command {
        command
            if global.format == OutputFormat::Prometheus
                && !matches!(command, Command::Stats(_)) =>
        {
            Err(no_prometheus())
        }
        Command::Restore(args) => restore::run_restore(&global, &args, config),
        Command::Mount(args) => restore::run_mount(&global, &args, config),
        Command::Save(args) => save::run_save(&global, &args, config),
        Command::Auto(args) => auto::run_auto(&global, &args),
        Command::Exec(args) => exec::run_exec(&global, &args, config),
        Command::Attach(args) => attach::run_attach(&global, &args),
        Command::Detach(args) => detach::run_detach(&global, &args),
        Command::Umount(args) => umount::run_umount(&global, &args),
        Command::Lookup(args) => lookup::run_lookup(&global, &args),
        Command::List(args) => list::run_list(&global, &args),
        Command::Inspect(args) => inspect::run_inspect(&global, &args),
        Command::Diff(args) => diff::run_diff(&global, &args),
        Command::Explain(args) => explain::run_explain(&global, &args, config),
        Command::Delete(args) => delete::run_delete(&global, &args),
        Command::Promote(args) => promote::run_promote(&global, &args),
        Command::Scopes(args) => scopes::run_scopes(&global, &args),
        Command::Gc(args) => gc::run_gc(&global, &args),
        Command::Import(args) => import::run_import_command(&global, &args),
        Command::Export(args) => export::run_export(&global, &args),
        Command::Check(args) => check::run_check(&global, &args),
        Command::Stats(args) => stats::run_stats(&global, &args),
        Command::Key(args) => key::run_key(&global, &args),
        Command::Detect(args) => detect::run_detect(&global, &args),
        Command::Config(args) => config::run_config(&global, &args, config),
        Command::Doctor(args) => doctor::run_doctor(&global, &args),
        #[cfg(feature = "csi")]
        Command::Csi(args) => csi::run_csi(&global, &args, Cli::command()),
        Command::Daemon(args) => daemon::run_daemon_command(&global, &args),
        #[cfg(feature = "volumes")]
        Command::VolumePlugin(args) => volume_plugin::run_volume_plugin(&global, &args, config),
        #[cfg(feature = "hook")]
        Command::OciHook(args) => oci_hook::run_oci_hook(&global, &args, config),
        #[cfg(feature = "hook")]
        Command::Cdi(args) => cdi::run_cdi(&global, &args, config),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run_serve(&global, &args),
        Command::Completions(args) => completions::run_completions(&args, Cli::command()),
        Command::Man(args) => man::run_man(&args, Cli::command()),
        Command::Help(args) => help::run_help(&args, Cli::command()),
    };
    end(&global, outcome, soft)
}

fn no_prometheus() -> anyhow::Error {
    let hint = "use --format json";
    cachefs::Error::usage("only `stats` prints the Prometheus format", hint).into()
}
