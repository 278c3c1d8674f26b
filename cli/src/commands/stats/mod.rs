//! `cachefs stats`.

mod prometheus;

use cachefs::mounts::{Attachment, Attachments, How, MountRecords, Presence, check_presence};
use cachefs::{DaemonClient, DaemonStats, Unsaved, UnsavedAmount};
use clap::Args;
use serde::Serialize;

use super::attach::container_name;
use crate::global::{Global, OutputFormat};
use crate::{exit, output, setup};

/// Printed states of restored paths.
const MOUNTED: &str = "mounted";
const DEAD: &str = "dead; restore it again to repair it";
const DIRECTORY: &str = "plain directory";

/// Options of `stats`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs stats
  cachefs stats --format prometheus")]
pub(crate) struct StatsArgs {}

/// A restored path in the output of `--format json`.
#[derive(Debug, Serialize)]
struct RestoredPath {
    path: String,
    key: String,
    scope: String,
    mode: How,
    /// The old name of `mode`, for one release.
    how: How,
    state: &'static str,
    layers: usize,
}

/// A directory attached to a container.
#[derive(Debug, Serialize)]
struct Attached {
    container: String,
    pid: u32,
    path: String,
    from: String,
}

impl From<Attachment> for Attached {
    fn from(shown: Attachment) -> Self {
        Self {
            path: output::format_path(&shown.path),
            from: output::format_path(&shown.from),
            container: shown.container,
            pid: shown.pid,
        }
    }
}

/// Output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedStats {
    store: String,
    restored: Vec<RestoredPath>,
    attached: Vec<Attached>,
    /// Unsaved changes of earlier jobs.
    unsaved: UnsavedAmount,
    daemon: Option<DaemonStats>,
    /// The socket of the share that serves restores, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<String>,
}

pub(crate) fn run_stats(global: &Global, _: &StatsArgs) -> anyhow::Result<u8> {
    let store = setup::open_store(global)?;
    let records = MountRecords::new(&store);
    // Clients of a share must not see the daemon's work for other clients.
    let running = match store.share() {
        Some(_) => None,
        None => DaemonClient::connect_running(&store)?,
    };
    let daemon = running.map(|mut client| client.stats()).transpose()?;
    let mut restored = Vec::new();
    for record in records.all()? {
        let state = match (record.how, check_presence(&record, &records)?) {
            (How::Copy, _) => DIRECTORY,
            (How::Mount, Presence::Alive) => MOUNTED,
            (How::Mount, Presence::Dead) => DEAD,
            (How::Mount, Presence::Absent) => "not mounted here",
            (How::Mount, Presence::Hidden) => "hidden by a later mount",
        };
        restored.push(RestoredPath {
            path: output::format_path(&record.path),
            key: record.name.key.to_string(),
            scope: record.name.scope.to_string(),
            mode: record.how,
            how: record.how,
            state,
            layers: record.layers.len(),
        });
    }
    let attached = Attachments::new(&store).all()?.into_iter();
    let printed = PrintedStats {
        store: output::format_path(store.path()),
        restored,
        attached: attached.map(Attached::from).collect(),
        unsaved: Unsaved::new(&store).amount(),
        daemon,
        share: store.share().map(output::format_path),
    };
    match global.format {
        OutputFormat::Json => output::print_json(&printed)?,
        OutputFormat::Text => print_stats(&printed),
        OutputFormat::Prometheus => {
            output::print_text(prometheus::prometheus_text(&printed).trim_end())
        }
    }
    Ok(exit::SUCCESS)
}

/// Summarises the unsaved changes of earlier jobs.
pub(crate) fn unsaved_text(amount: &UnsavedAmount) -> String {
    let oldest = match amount.oldest_micros {
        Some(micros) => format!(", the oldest from {}", output::format_age(micros)),
        None => String::new(),
    };
    format!(
        "changes of {}, {}{oldest}",
        output::format_count(amount.directories, "earlier restore"),
        output::format_bytes(amount.bytes)
    )
}

fn print_stats(stats: &PrintedStats) {
    output::print_text(&format!("store    {}", stats.store));
    match &stats.daemon {
        None => output::print_text(&match &stats.share {
            Some(share) => format!("daemon   another store's, through {share}"),
            None => "daemon   not running".to_owned(),
        }),
        Some(daemon) => {
            output::print_text(&format!(
                "daemon   process {}, {} s, {}{}",
                daemon.pid,
                daemon.uptime_seconds,
                output::format_count(daemon.views.len() as u64, "view"),
                match daemon.restarts {
                    0 => String::new(),
                    restarts => format!(", restarted {}", output::format_count(restarts, "time")),
                }
            ));
            output::print_text(&format!(
                "cache    {} of {}",
                output::format_bytes(daemon.cache_bytes),
                output::format_bytes(daemon.cache_limit)
            ));
            output::print_text(&format!(
                "reads    {} from local data; {} fetched on demand, {} prefetched",
                output::format_count(daemon.reads.local_frames, "frame"),
                output::format_bytes(daemon.reads.demand_bytes),
                output::format_bytes(daemon.reads.prefetch_bytes)
            ));
            let traffic = output::format_traffic(&daemon.traffic);
            output::print_text(&format!("remote   {traffic}"));
            let restores = &daemon.restores;
            output::print_text(&format!(
                "restores {} exact, {} partial, {} missed, {} failed",
                restores.exact, restores.partial, restores.missed, restores.failed
            ));
        }
    }
    if stats.unsaved.directories > 0 {
        output::print_text(&format!(
            "unsaved  {} in {}/unsaved",
            unsaved_text(&stats.unsaved),
            stats.store
        ));
    }
    for shown in &stats.attached {
        output::print_text(&format!(
            "attached {}  at {} in {}",
            shown.from,
            shown.path,
            container_name(&shown.container, shown.pid)
        ));
    }
    for restored in &stats.restored {
        output::print_text(&format!(
            "path     {}  {}  {} ({})",
            restored.path,
            restored.key,
            restored.state,
            output::format_count(restored.layers as u64, "layer")
        ));
    }
}
