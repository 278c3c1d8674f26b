//! `cachefs daemon`.

mod shares;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cachefs::daemon::{DaemonOptions, run as run_daemon, unreachable};
use cachefs::sys::spawn::Readiness;
use cachefs::{Client, Error, StoreDir};
use clap::{Args, Subcommand};

use crate::args::Global;
use crate::{exit, output, setup};

/// Options of `daemon`.
#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    #[command(subcommand)]
    action: Action,
}

impl DaemonArgs {
    /// Whether this process is to be the daemon.
    pub(crate) fn is_run(&self) -> bool {
        matches!(self.action, Action::Run { .. })
    }
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Serve the store in the foreground; other commands start this by themselves
    Run {
        /// End after this many seconds without mounts and connections
        #[arg(
            long,
            value_name = "SECONDS",
            env = "CACHEFS_DAEMON_IDLE",
            default_value_t = 60
        )]
        idle: u64,
    },
    /// Start it in the background, if it does not run
    Start,
    /// Have this version of cachefs go on in its place; mounts stay, and whoever reads them waits
    Upgrade,
    /// End it
    Stop {
        /// Even while it serves mounts, which break
        #[arg(long)]
        force: bool,
    },
    /// Tell whether it runs
    Status,
    /// Let containers restore from one remote and scope, through a socket of their own
    Share(shares::ShareArgs),
    /// End a share; mounts that were made through it stay
    Unshare {
        /// The socket
        #[arg(value_name = "PATH")]
        path: PathBuf,
    },
    /// List what is shared
    Shares,
}

/// How long the new daemon may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a daemon that was told to end may take.
const ENDING: Duration = Duration::from_secs(5);

fn upgrade(store: &StoreDir) -> anyhow::Result<u8> {
    let Some(mut client) = Client::connect_running(store)? else {
        output::say("the daemon does not run; the next command starts this version");
        return Ok(exit::SUCCESS);
    };
    let before = client.upgrade(store.exe().to_owned())?;
    drop(client);
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let Some(mut client) = Client::connect_running(store)? else {
            return Err(Error::usage(
                "the daemon ended instead of going on",
                "see `daemon.log` in the store; the next restore repairs its mounts",
            )
            .into());
        };
        // One that is about to end hangs up, or answers once more.
        match client.stats() {
            Ok(stats) if stats.pid != before && stats.restarts == 0 && stats.waiting == 0 => {
                output::say(&format!(
                    "version {} goes on as process {}, with {} mounts",
                    stats.version,
                    stats.pid,
                    stats.views.len()
                ));
                return Ok(exit::SUCCESS);
            }
            Ok(stats) if stats.pid != before && stats.restarts > 0 => break,
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    Err(Error::usage(
        "the daemon goes on as it was",
        "see `daemon.log` in the store for why",
    )
    .into())
}

/// Waits for a moment until no daemon has the store.
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

pub(crate) fn run(global: &Global, args: &DaemonArgs) -> anyhow::Result<u8> {
    match &args.action {
        Action::Run { idle } => {
            let readiness = Readiness::from_env();
            let store = match setup::store(global) {
                Ok(store) => store,
                Err(error) => {
                    let _ = readiness.failed(&format!("{error:#}"));
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
        Action::Upgrade => upgrade(&setup::store(global)?.with_own_daemon()),
        Action::Start => {
            let mut client = Client::connect(&setup::store(global)?.with_own_daemon())?;
            output::say(&format!(
                "the daemon runs as process {}",
                client.stats()?.pid
            ));
            Ok(exit::SUCCESS)
        }
        Action::Stop { force } => {
            let store = setup::store(global)?.with_own_daemon();
            let Some(mut client) = Client::connect_running(&store)? else {
                // It may be about to end.
                if !has_ended(&store)
                    && let Some(error) = unreachable(&store)
                {
                    return Err(error.into());
                }
                output::say("the daemon does not run");
                return Ok(exit::SUCCESS);
            };
            client.stop(*force)?;
            drop(client);
            if has_ended(&store) {
                output::say("the daemon has ended");
                return Ok(exit::SUCCESS);
            }
            Err(Error::usage(
                "the daemon was told to end and has not",
                "see `daemon.log` in the store",
            )
            .into())
        }
        Action::Share(args) => shares::open(global, args),
        Action::Unshare { path } => shares::close(global, path),
        Action::Shares => shares::list(global),
        Action::Status if global.daemon.is_some() => {
            let allowed = Client::connect(&setup::store(global)?)?.allowed()?;
            output::print(&format!("a share: {}", shares::purpose(&allowed)));
            Ok(exit::SUCCESS)
        }
        Action::Status => match Client::connect_running(&setup::store(global)?)? {
            Some(mut client) => {
                let stats = client.stats()?;
                output::print(&format!(
                    "running as process {}, kept by process {}",
                    stats.pid, stats.supervisor
                ));
                Ok(exit::SUCCESS)
            }
            None => {
                match unreachable(&setup::store(global)?) {
                    Some(error) => output::print(&error.to_string()),
                    None => output::print("not running"),
                }
                Ok(exit::LOCAL)
            }
        },
    }
}
