//! `cachefs daemon`.

mod shares;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cachefs::daemon::{DaemonOptions, run_daemon, why_unreachable};
use cachefs::sys::spawn::Readiness;
use cachefs::{DaemonClient, DaemonStats, Error, StoreDir};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::global::{Global, OutputFormat};
use crate::{exit, output, setup};

/// Options of `daemon`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs daemon status
  cachefs daemon upgrade")]
pub(crate) struct DaemonArgs {
    #[command(subcommand)]
    action: DaemonAction,
}

impl DaemonArgs {
    /// Whether this process becomes the daemon.
    pub(crate) fn is_run(&self) -> bool {
        matches!(self.action, DaemonAction::Run { .. })
    }
}

#[derive(Debug, Subcommand)]
enum DaemonAction {
    /// Run the daemon in the foreground; other commands start it when needed
    #[command(after_help = "Example:\n  cachefs daemon run --idle 600")]
    Run {
        /// Exit after this many seconds without mounts and connections
        #[arg(
            long,
            value_name = "SECONDS",
            env = "CACHEFS_DAEMON_IDLE",
            default_value_t = 60
        )]
        idle: u64,
    },
    /// Start the daemon in the background if it is not running
    #[command(after_help = "Example:\n  cachefs daemon start")]
    Start,
    /// Replace the running daemon with this version; mounts stay, and reads wait
    #[command(after_help = "Example:\n  cachefs daemon upgrade")]
    Upgrade,
    /// Stop the daemon
    #[command(after_help = "Example:\n  cachefs daemon stop")]
    Stop {
        /// Stop it even while it serves mounts, which breaks them
        #[arg(long)]
        force: bool,
    },
    /// Report whether the daemon runs
    #[command(after_help = "Example:\n  cachefs daemon status")]
    Status,
    /// Share the daemon with containers, for one remote and scope, through a socket
    Share(shares::ShareArgs),
    /// End a share; mounts that were made through it stay
    #[command(after_help = "Example:\n  cachefs daemon unshare /run/job-7.sock")]
    Unshare {
        /// Socket of the share
        #[arg(value_name = "PATH")]
        path: PathBuf,
    },
    /// List shares
    #[command(after_help = "Example:\n  cachefs daemon shares")]
    Shares,
}

/// State of the daemon in the output of `--format json`.
#[derive(Debug, Default, Serialize)]
struct PrintedDaemon {
    running: bool,
    /// The result of a command that changes the daemon: `started`, `upgraded`, `stopped` or
    /// `not_running`.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supervisor: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    daemon_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mounts: Option<usize>,
    /// The purpose of the share that the options name.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<String>,
    /// The reason why a running daemon cannot be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable: Option<String>,
}

impl PrintedDaemon {
    fn running(stats: DaemonStats) -> Self {
        Self {
            running: true,
            pid: Some(stats.pid),
            supervisor: Some(stats.supervisor),
            daemon_version: Some(stats.version),
            mounts: Some(stats.views.len()),
            ..Self::default()
        }
    }

    fn not_running(result: &'static str) -> Self {
        Self {
            result: Some(result),
            ..Self::default()
        }
    }

    fn print(self, global: &Global) -> anyhow::Result<()> {
        match global.format {
            OutputFormat::Json => output::print_json(&self),
            _ => Ok(()),
        }
    }
}

/// Maximum time for a new daemon to take over.
const PATIENCE: Duration = Duration::from_secs(20);
/// Maximum time for a daemon to exit after a request to stop.
const ENDING: Duration = Duration::from_secs(5);

fn upgrade_daemon(global: &Global, store: &StoreDir) -> anyhow::Result<u8> {
    let Some(mut client) = DaemonClient::connect_running(store)? else {
        output::log_text("the daemon is not running; the next command starts this version");
        PrintedDaemon::not_running("not_running").print(global)?;
        return Ok(exit::SUCCESS);
    };
    let before = client.upgrade(store.exe().to_owned())?;
    drop(client);
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let Some(mut client) = DaemonClient::connect_running(store)? else {
            return Err(Error::usage(
                "the daemon exited during the upgrade",
                "see `daemon.log` in the store; the next restore repairs its mounts",
            )
            .into());
        };
        // A daemon that is about to exit closes the connection, or answers one more request.
        match client.stats() {
            Ok(stats) if stats.pid != before && stats.restarts == 0 && stats.waiting == 0 => {
                output::log_text(&format!(
                    "upgraded to version {} as process {}, with {} mounts",
                    stats.version,
                    stats.pid,
                    stats.views.len()
                ));
                let printed = PrintedDaemon {
                    result: Some("upgraded"),
                    ..PrintedDaemon::running(stats)
                };
                printed.print(global)?;
                return Ok(exit::SUCCESS);
            }
            Ok(stats) if stats.pid != before && stats.restarts > 0 => break,
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    Err(Error::usage(
        "the upgrade failed, and the old version continues",
        "see `daemon.log` in the store",
    )
    .into())
}

/// Waits briefly until no daemon holds the store.
fn has_ended(store: &StoreDir) -> bool {
    let started = Instant::now();
    while store.daemon_is_locked() {
        if started.elapsed() > ENDING {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

pub(crate) fn run_daemon_command(global: &Global, args: &DaemonArgs) -> anyhow::Result<u8> {
    match &args.action {
        DaemonAction::Run { idle } => {
            let readiness = Readiness::from_env();
            let store = match setup::open_store(global) {
                Ok(store) => store,
                Err(error) => {
                    let _ = readiness.failed(&format!("{error:#}"), None);
                    return Err(error);
                }
            };
            let options = DaemonOptions {
                idle: Duration::from_secs(*idle),
                cache_limit: global.cache_limit,
            };
            let code = run_daemon(&store, &options, readiness)?;
            Ok(u8::try_from(code).unwrap_or(exit::LOCAL))
        }
        DaemonAction::Upgrade => {
            upgrade_daemon(global, &setup::open_store(global)?.with_own_daemon())
        }
        DaemonAction::Start => {
            let mut client = DaemonClient::connect(&setup::open_store(global)?.with_own_daemon())?;
            let stats = client.stats()?;
            output::log_text(&format!("the daemon runs as process {}", stats.pid));
            let printed = PrintedDaemon {
                result: Some("started"),
                ..PrintedDaemon::running(stats)
            };
            printed.print(global)?;
            Ok(exit::SUCCESS)
        }
        DaemonAction::Stop { force } => {
            let store = setup::open_store(global)?.with_own_daemon();
            let Some(mut client) = DaemonClient::connect_running(&store)? else {
                // It may be shutting down.
                if !has_ended(&store)
                    && let Some(error) = why_unreachable(&store)
                {
                    return Err(error.into());
                }
                output::log_text("the daemon is not running");
                PrintedDaemon::not_running("not_running").print(global)?;
                return Ok(exit::SUCCESS);
            };
            client.stop(*force)?;
            drop(client);
            if has_ended(&store) {
                output::log_text("stopped the daemon");
                PrintedDaemon::not_running("stopped").print(global)?;
                return Ok(exit::SUCCESS);
            }
            Err(Error::usage("the daemon did not stop", "see `daemon.log` in the store").into())
        }
        DaemonAction::Share(args) => shares::run_open_share(global, args),
        DaemonAction::Unshare { path } => shares::run_close_share(global, path),
        DaemonAction::Shares => shares::list_shares(global),
        DaemonAction::Status => print_status(global),
    }
}

fn print_status(global: &Global) -> anyhow::Result<u8> {
    let store = setup::open_store(global)?;
    if global.daemon.is_some() {
        let allowed = DaemonClient::connect(&store)?.allowed()?;
        let purpose = shares::purpose_text(&allowed);
        if global.format != OutputFormat::Json {
            output::print_text(&format!("a share: {purpose}"));
        }
        let printed = PrintedDaemon {
            running: true,
            share: Some(purpose),
            ..PrintedDaemon::default()
        };
        printed.print(global)?;
        return Ok(exit::SUCCESS);
    }
    let Some(mut client) = DaemonClient::connect_running(&store)? else {
        let why = why_unreachable(&store).map(|error| error.to_string());
        if global.format != OutputFormat::Json {
            output::print_text(why.as_deref().unwrap_or("not running"));
        }
        let printed = PrintedDaemon {
            unreachable: why,
            ..PrintedDaemon::default()
        };
        printed.print(global)?;
        return Ok(exit::LOCAL);
    };
    let stats = client.stats()?;
    if global.format != OutputFormat::Json {
        output::print_text(&format!(
            "running as process {}, supervised by process {}",
            stats.pid, stats.supervisor
        ));
    }
    PrintedDaemon::running(stats).print(global)?;
    Ok(exit::SUCCESS)
}
