//! The command line.

mod remote;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use remote::RemoteArgs;

use crate::commands::{
    attach, auto, cdi, check, completions, config, csi, daemon, delete, detach, detect, diff,
    doctor, exec, explain, export, gc, import, inspect, key, list, lookup, man, oci_hook, promote,
    restore, save, scopes, stats, umount, volume_plugin,
};
use crate::log::LogFormat;
use crate::outputs::{OutputArgs, Outputs};

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

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Global {
    /// Local store directory [default: /var/lib/cachefs for root, else $XDG_CACHE_HOME/cachefs]
    #[arg(long, global = true, value_name = "DIR", env = "CACHEFS_STORE")]
    pub(crate) store: Option<PathBuf>,
    /// Socket of a share of another store's daemon, which restores then come through
    #[arg(long, global = true, value_name = "PATH", env = "CACHEFS_DAEMON")]
    pub(crate) daemon: Option<PathBuf>,
    /// Whose keys these are [default: in CI pr/N, tag/NAME or branch/NAME, else `default`]
    #[arg(long, global = true, value_name = "NAME", env = "CACHEFS_SCOPE")]
    pub(crate) scope: Option<String>,
    /// Longest time that one operation on the remote may take, such as 30s or 2m
    #[arg(long, global = true, value_name = "TIME", env = "CACHEFS_TIMEOUT", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Limit of the local cache of fetched data, such as 10G
    #[arg(long, global = true, value_name = "SIZE", env = "CACHEFS_CACHE_LIMIT", value_parser = parse_size, default_value = "10G")]
    pub(crate) cache_limit: u64,
    /// The project's file [default: cachefs.toml here, or further up in the repository]
    #[arg(long, global = true, value_name = "FILE", env = "CACHEFS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Read no configuration files
    #[arg(long, global = true, env = "CACHEFS_NO_CONFIG", value_parser = BoolishValueParser::new())]
    pub(crate) no_config: bool,
    /// How to print results
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, env = "CACHEFS_FORMAT")]
    pub(crate) format: Format,
    /// How to print everything else, to standard error
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t = LogFormat::Text,
        env = "CACHEFS_LOG_FORMAT",
        hide_short_help = true
    )]
    pub(crate) log_format: LogFormat,
    #[command(flatten)]
    pub(crate) outputs: OutputArgs,
    /// Let errors of the cache fail `restore` and `save`
    #[arg(long, global = true, env = "CACHEFS_STRICT_ERRORS", value_parser = BoolishValueParser::new())]
    pub(crate) strict_errors: bool,
    /// Say more; twice for even more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Where caches are kept.
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

impl Global {
    /// Which CI systems are told of what happens, by the options and this environment.
    pub(crate) fn told(&self, env: impl Fn(&str) -> Option<String>) -> Outputs {
        Outputs::find(&self.outputs, self.format == Format::Json, env)
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object on standard output.
    Json,
    /// Prometheus' text format; `stats` only.
    Prometheus,
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
    VolumePlugin(volume_plugin::VolumePluginArgs),
    /// Show caches in containers that a runtime starts, and save them afterwards
    OciHook(oci_hook::OciHookArgs),
    /// Print the caches of cachefs.toml as devices of containers
    Cdi(cdi::CdiArgs),
    /// Serve Kubernetes: caches as volumes of pods
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

    /// Whether configuration files count. The daemon is told all it needs by whoever starts it,
    /// and completions are made wherever a shell is set up.
    pub(crate) fn reads_config(&self) -> bool {
        match self {
            Self::Daemon(args) => !args.is_run(),
            Self::Completions(_) => false,
            _ => true,
        }
    }
}

fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    Some((number.parse().ok()?, unit.trim()))
}

/// Reads a time such as `500ms`, `30s`, `2m`, `12h`, `14d` or `2w`; a number alone is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let error = || format!("`{text}` is not a time such as 500ms, 30s, 2m or 14d");
    let (number, unit) = number_and_unit(text).ok_or_else(error)?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "sec" | "secs" | "second" | "seconds" => number,
        "m" | "min" | "mins" | "minute" | "minutes" => number * 60.0,
        "h" | "hour" | "hours" => number * 3600.0,
        "d" | "day" | "days" => number * 86_400.0,
        "w" | "week" | "weeks" => number * 604_800.0,
        _ => return Err(error()),
    };
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(error)
}

/// Reads a time as [`parse_duration`] does, but not a number alone: what is kept for `14` is meant to
/// be kept for days, and would be gone in seconds.
pub(crate) fn parse_age(text: &str) -> Result<Duration, String> {
    match text
        .trim()
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        true => Err(format!(
            "`{text}` has no unit: write {text}d for days, or {text}h for hours"
        )),
        false => parse_duration(text),
    }
}

pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let error = || format!("`{text}` is not a size such as 500M or 10G");
    let (number, unit) = number_and_unit(text).ok_or_else(error)?;
    let unit = unit
        .trim_end_matches("iB")
        .trim_end_matches('B')
        .to_ascii_uppercase();
    let shift = match unit.as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(error()),
    };
    let bytes = number * f64::from(shift).exp2();
    if bytes >= 0.0 && bytes < u64::MAX as f64 {
        Ok(bytes as u64)
    } else {
        Err(error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn times_and_sizes() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_duration("0s").is_err());
        assert!(parse_duration("soon").is_err());
        let two_weeks = Ok(Duration::from_secs(14 * 86_400));
        for text in ["14d", "14days", "14 days", "2w", "2 weeks", "336h"] {
            assert_eq!(parse_age(text), two_weeks, "{text}");
        }
        for text in ["14", " 14", "1.5", "0d", "14 moons", ""] {
            assert!(parse_age(text).is_err(), "{text}");
        }
        assert_eq!(parse_size("10G"), Ok(10 << 30));
        assert_eq!(parse_size("1.5KiB"), Ok(1536));
        assert!(parse_size("10X").is_err());
    }
}
