//! Prints results to standard output, and everything else to standard error.

use std::ffi::OsString;
use std::io::IsTerminal as _;

use cachefs_store::remote::RemoteTraffic;
use serde::Serialize;

use crate::global::{Global, OutputFormat};
use crate::json_output;
use crate::log::{self, LogFormat};
use crate::outputs::annotate::Annotations;

/// The message after a signal interrupted the work.
pub(crate) const INTERRUPTED: &str = "interrupted: run the command again to continue";

/// Configures the output from arguments that could not be parsed.
pub(crate) fn configure_unparsed(arguments: &[OsString]) {
    let is_json = |option: &str, variable: &str| match json_output::find_option(arguments, option) {
        Some(format) => format == "json",
        None => std::env::var_os(variable).is_some_and(|format| format == "json"),
    };
    json_output::configure_object(is_json("--format", "CACHEFS_FORMAT"));
    let format = match is_json("--log-format", "CACHEFS_LOG_FORMAT") {
        true => LogFormat::Json,
        false => LogFormat::Text,
    };
    log::configure_log(format, Annotations::default());
}

/// Sends the library's log to standard error.
pub(crate) fn start_log(global: &Global) {
    let default = match global.verbose {
        0 => "warn,fuser=error",
        1 => "info,fuser=error",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("CACHEFS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    json_output::configure_object(global.format == OutputFormat::Json);
    log::configure_log(
        global.log_format,
        global.told(|name| std::env::var(name).ok()).annotations,
    );
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        // Otherwise it would print an error for a full disk to `daemon.log`, and panic.
        .log_internal_errors(false);
    match global.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.event_format(log::JsonLines).init(),
    }
}

pub(crate) use crate::log::{log_text, print_error};
pub(crate) use crate::stdout::{write_failure, write_stdout};
pub(crate) use crate::text::{
    error_lines, format_age, format_bytes, format_count, format_path, format_span, format_traffic,
    format_until,
};

pub(crate) use crate::json_output::print_object as print_json;

/// Prints lines of results, escaped for terminals and CI systems.
pub(crate) fn print_text(text: &str) {
    if !json_output::keep_line(text) {
        write_stdout(&format!("{}\n", log::escape_controls(text)));
    }
}

/// Numbers of requests by kind, for JSON.
#[derive(Debug, Serialize)]
pub(crate) struct RequestCounts {
    get: u64,
    put: u64,
    head: u64,
    list: u64,
    delete: u64,
}

impl From<&RemoteTraffic> for RequestCounts {
    fn from(traffic: &RemoteTraffic) -> Self {
        Self {
            get: traffic.gets,
            put: traffic.puts,
            head: traffic.heads,
            list: traffic.lists,
            delete: traffic.deletes,
        }
    }
}
