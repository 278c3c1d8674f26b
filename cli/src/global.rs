//! The options of every command.

mod remote;
mod units;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

use remote::RemoteArgs;
pub(crate) use units::{parse_age, parse_duration, parse_size};

use crate::log::LogFormat;
use crate::outputs::{OutputArgs, Outputs};

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
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Text, env = "CACHEFS_FORMAT")]
    pub(crate) format: OutputFormat,
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
        Outputs::find(&self.outputs, self.format == OutputFormat::Json, env)
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    Text,
    /// One JSON object on standard output.
    Json,
    /// Prometheus' text format; `stats` only.
    Prometheus,
}
