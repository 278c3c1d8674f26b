//! The command line.

use clap::{Parser, Subcommand};

#[cfg(feature = "csi")]
use crate::commands::csi;
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

/// Layered, content-addressed build caches, mounted on demand.
///
/// `restore` shows a cache at a path in milliseconds, whatever its size; `save` stores what a
/// build changed there as one new layer.
#[derive(Debug, Parser)]
#[command(name = "cachefs", version, max_term_width = 100)]
#[command(after_help = "\
Example:
  cachefs restore --key 'm2-{{ checksum \"pom.xml\" }}' --restore-key m2- --path ~/.m2
  mvn -o package
  cachefs save    --key 'm2-{{ checksum \"pom.xml\" }}' --path ~/.m2

Exit codes: 0 success, a miss included; 1 local error; 2 usage or configuration; 3 a miss with
--fail-on-cache-miss; 4 remote or credentials; 5 damaged data, or secrets with --secrets fail.
`restore` and `save` turn 1 and 4 into a loud warning and exit 0, so that a cache never fails a
build, unless --strict-errors is set.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a cache at a path
    Restore(restore::RestoreArgs),
    /// Mount a cache at a path: `restore --mode mount`
    Mount(restore::RestoreArgs),
    /// Save a path: everything the first time, then only what changed
    Save(save::SaveArgs),
    /// Restore or save the caches of the tools that the workspace uses
    Auto(auto::AutoArgs),
    /// Restore, run a command, save if it succeeded, and unmount
    Exec(exec::ExecArgs),
    /// Show a cache in a container that runs already
    Attach(attach::AttachArgs),
    /// Take what was attached away from a container
    Detach(detach::DetachArgs),
    /// Unmount a restored path
    #[command(alias = "unmount")]
    Umount(umount::UmountArgs),
    /// Tell whether a key exists
    Lookup(lookup::LookupArgs),
    /// List keys, newest first
    #[command(alias = "ls")]
    List(list::ListArgs),
    /// Show the layers of a key
    Inspect(inspect::InspectArgs),
    /// Show what differs between two keys, or what a restored path has changed
    Diff(diff::DiffArgs),
    /// Tell why a key was not found, or how a restored cache is used
    Explain(explain::ExplainArgs),
    /// Delete keys
    Delete(delete::DeleteArgs),
    /// Take keys over into another scope, as when a branch is merged
    Promote(promote::PromoteArgs),
    /// List scopes, and delete those that nothing is saved to any more
    Scopes(scopes::ScopesArgs),
    /// Remove what no key needs any more from the remote
    Gc(gc::GcArgs),
    /// Save what a tar archive holds, such as the cache of another tool
    Import(import::ImportArgs),
    /// Write what a key holds as a tar archive
    Export(export::ExportArgs),
    /// Check that what keys name is there and intact
    Check(check::CheckArgs),
    /// Show what is mounted and what the daemon has done
    Stats(stats::StatsArgs),
    /// Print the key that a template expands to, and the files behind it
    Key(key::KeyArgs),
    /// Find the caches of the tools that a workspace uses
    Detect(detect::DetectArgs),
    /// Show every setting and cache, and where its value comes from
    Config(config::ConfigArgs),
    /// Find out what this machine can do, and why not
    Doctor(doctor::DoctorArgs),
    /// Run, stop or look for the daemon
    Daemon(daemon::DaemonArgs),
    /// Serve caches to docker and podman as volumes
    #[cfg(feature = "volumes")]
    VolumePlugin(volume_plugin::VolumePluginArgs),
    /// Show caches in containers that a runtime starts, and save them afterwards
    #[cfg(feature = "hook")]
    OciHook(oci_hook::OciHookArgs),
    /// Print the caches of cachefs.toml as devices of containers
    #[cfg(feature = "hook")]
    Cdi(cdi::CdiArgs),
    /// Serve Kubernetes: caches as volumes of pods
    #[cfg(feature = "csi")]
    Csi(csi::CsiArgs),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write one for every command
    Man(man::ManArgs),
}

impl Command {
    /// Whether the command is to fail when there is no cache: `--fail-on-cache-miss`.
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

    /// The daemon is told all it needs by whoever starts it, and completions are made wherever a
    /// shell is set up.
    fn reads_config(&self) -> bool {
        match &self.command {
            Command::Daemon(args) => !args.is_run(),
            Command::Completions(_) => false,
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
