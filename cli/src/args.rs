//! The command line.

use clap::{Parser, Subcommand};

#[cfg(feature = "csi")]
use crate::commands::csi;
#[cfg(feature = "serve")]
use crate::commands::serve;
#[cfg(feature = "volumes")]
use crate::commands::volume_plugin;
use crate::commands::{
    attach, auto, check, completions, config, daemon, delete, detach, detect, diff, doctor, exec,
    explain, export, gc, import, inspect, key, list, lookup, man, promote, restore, save, scopes,
    stats, umount,
};
#[cfg(feature = "hook")]
use crate::commands::{cdi, oci_hook};
use crate::config::CommandLine;
use crate::global::Global;
use crate::{commands, help};

/// Layered, content-addressed build caches, mounted on demand.
///
/// `restore` mounts a cache at a path in milliseconds, at any size; `save` stores only the changes
/// of the build, as a new layer.
#[derive(Debug, Parser)]
#[command(name = "cachefs", version, max_term_width = 100)]
#[command(help_template = help::grouped_template::<Command>(), disable_help_subcommand = true)]
#[command(mut_args(help::arrange_option), mut_subcommands(help::arrange_options))]
#[command(after_help = "\
Example:
  cachefs restore --key 'm2-{{ checksum \"pom.xml\" }}' --restore-key m2- --path ~/.m2
  mvn -o package
  cachefs save    --key 'm2-{{ checksum \"pom.xml\" }}' --path ~/.m2

Exit codes: 0 success or a miss; 1 local error; 2 usage or configuration error; 3 miss with
--fail-on-cache-miss; 4 remote or credentials error; 5 corrupt data, or secrets with --secrets fail.
`restore` and `save` report errors 1 and 4 as warnings and exit with 0, so that a cache never fails
a build; --strict-errors makes them fail.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Restore a cache: mount it at a path, or copy it
    #[command(after_help = "\
Examples:
  cachefs restore --key 'npm-{{ checksum \"package-lock.json\" }}' --restore-key npm- \\
      --path node_modules
  cachefs restore deps --mode copy    # [cache.deps] of cachefs.toml")]
    Restore(restore::RestoreArgs),
    /// Mount a cache: `restore --mode mount`
    #[command(after_help = "\
Example:
  cachefs mount --key m2-main --path ~/.m2")]
    Mount(restore::RestoreArgs),
    /// Save a directory: everything the first time, then only changes
    Save(save::SaveArgs),
    /// Restore or save the caches of the detected tools
    Auto(auto::AutoArgs),
    /// Restore, run a command, save if it succeeds, and unmount
    Exec(exec::ExecArgs),
    /// Mount a cache into a running container
    Attach(attach::AttachArgs),
    /// Detach a cache from a running container
    Detach(detach::DetachArgs),
    /// Unmount a restored directory
    #[command(alias = "unmount")]
    Umount(umount::UmountArgs),
    /// Check whether a key exists
    Lookup(lookup::LookupArgs),
    /// List keys, newest first
    #[command(alias = "ls")]
    List(list::ListArgs),
    /// Show the layers of a key
    Inspect(inspect::InspectArgs),
    /// Compare two keys, or show changes of a restored directory
    Diff(diff::DiffArgs),
    /// Explain a cache miss, or report how a restored cache was used
    Explain(explain::ExplainArgs),
    /// Delete keys
    Delete(delete::DeleteArgs),
    /// Copy keys to another scope, for example after a merge
    Promote(promote::PromoteArgs),
    /// List scopes, and delete stale ones
    Scopes(scopes::ScopesArgs),
    /// Delete unreferenced objects from the remote
    Gc(gc::GcArgs),
    /// Import a tar archive, for example a cache of another tool
    Import(import::ImportArgs),
    /// Export a key as a tar archive
    Export(export::ExportArgs),
    /// Verify that the objects of keys exist and are intact
    Check(check::CheckArgs),
    /// Show mounts, and statistics of the daemon
    Stats(stats::StatsArgs),
    /// Print the key that a template expands to, and its inputs
    Key(key::KeyArgs),
    /// Detect the tools of a workspace and their caches
    Detect(detect::DetectArgs),
    /// Show all settings and caches, and the source of each value
    Config(config::ConfigArgs),
    /// Check whether this machine can mount caches
    Doctor(doctor::DoctorArgs),
    /// Manage the daemon
    Daemon(daemon::DaemonArgs),
    /// Serve caches as volumes of docker and podman
    #[cfg(feature = "volumes")]
    VolumePlugin(volume_plugin::VolumePluginArgs),
    /// Mount caches into new containers, and save them when they exit
    #[cfg(feature = "hook")]
    OciHook(oci_hook::OciHookArgs),
    /// Print the caches of cachefs.toml as CDI devices
    #[cfg(feature = "hook")]
    Cdi(cdi::CdiArgs),
    /// Serve caches as inline volumes of Kubernetes pods
    #[cfg(feature = "csi")]
    Csi(csi::CsiArgs),
    /// Serve a container registry from the remote
    #[cfg(feature = "serve")]
    Serve(serve::ServeArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write pages for all commands
    Man(man::ManArgs),
    /// Print help of a command, or of the remote's options
    Help(commands::help::HelpArgs),
}

impl Command {
    /// Whether a missing cache is an error: `--fail-on-cache-miss`.
    pub(crate) fn fails_without_cache(&self) -> bool {
        match self {
            Self::Restore(args) | Self::Mount(args) => args.how.fail_on_cache_miss,
            Self::Auto(args) => args.fails_without_cache(),
            Self::Exec(args) => args.restore.fail_on_cache_miss,
            _ => false,
        }
    }
}

impl CommandLine for Cli {
    fn global(&self) -> &Global {
        &self.global
    }

    /// The daemon gets all its settings from the process that starts it. Completions are generated
    /// when a shell starts, in any directory.
    fn reads_config(&self) -> bool {
        match &self.command {
            Command::Daemon(args) => !args.is_run(),
            Command::Completions(_) | Command::Help(_) => false,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
