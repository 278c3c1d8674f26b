//! The global options.

mod remote;
mod units;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

pub(crate) use remote::REMOTE_HEADING;
use remote::RemoteArgs;
pub(crate) use remote::remote_help;
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
    /// Restore through the socket of a shared daemon, see `cachefs daemon share`
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "CACHEFS_DAEMON",
        hide_short_help = true
    )]
    pub(crate) daemon: Option<PathBuf>,
    /// Scope of the keys [default: branch/NAME, tag/NAME or pr/N in CI, else `default`]
    #[arg(long, global = true, value_name = "NAME", env = "CACHEFS_SCOPE")]
    pub(crate) scope: Option<String>,
    /// Timeout of one remote operation, for example 30s or 2m
    #[arg(long, global = true, value_name = "TIME", env = "CACHEFS_TIMEOUT", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Size limit of the local cache of fetched data
    #[arg(long, global = true, value_name = "SIZE", env = "CACHEFS_CACHE_LIMIT", value_parser = parse_size, default_value = "10G", hide_short_help = true)]
    pub(crate) cache_limit: u64,
    /// Configuration file [default: cachefs.toml here or in a parent in the repository]
    #[arg(long, global = true, value_name = "FILE", env = "CACHEFS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Ignore configuration files
    #[arg(long, global = true, env = "CACHEFS_NO_CONFIG", value_parser = BoolishValueParser::new(), hide_short_help = true)]
    pub(crate) no_config: bool,
    /// Format of results on stdout
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Text, env = "CACHEFS_FORMAT")]
    pub(crate) format: OutputFormat,
    /// Format of messages on stderr
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
    /// Fail on cache errors instead of continuing without the cache
    #[arg(long, global = true, env = "CACHEFS_STRICT_ERRORS", value_parser = BoolishValueParser::new())]
    pub(crate) strict_errors: bool,
    /// Print more messages; repeat for debug messages
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Where caches are kept.
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

impl Global {
    /// The outputs to write, by the options and the given environment.
    pub(crate) fn told(&self, env: impl Fn(&str) -> Option<String>) -> Outputs {
        Outputs::find(&self.outputs, self.format == OutputFormat::Json, env)
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Text for people.
    Text,
    /// One JSON object.
    Json,
    /// Prometheus text format; `stats` only.
    Prometheus,
}
