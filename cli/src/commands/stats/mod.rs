//! `cachefs stats`.

mod prometheus;

use cachefs::mounts::{Attachment, Attachments, How, Presence, Records, presence};
use cachefs::{Client, DaemonStats, Unsaved, UnsavedAmount};
use clap::Args;
use serde::Serialize;

use super::attach::named;
use crate::global::{Format, Global};
use crate::outputs::{dollars, estimate};
use crate::{exit, output, setup};

/// States of restored paths, as they are printed.
const MOUNTED: &str = "mounted";
const DEAD: &str = "dead; restore it again to repair it";
const DIRECTORY: &str = "plain directory";

/// Options of `stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {}

/// A restored path in the output of `--format json`.
#[derive(Debug, Serialize)]
struct Restored {
    path: String,
    key: String,
    scope: String,
    how: How,
    state: &'static str,
    layers: usize,
}

/// A directory that a container shows.
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
            path: output::path(&shown.path),
            from: output::path(&shown.from),
            container: shown.container,
            pid: shown.pid,
        }
    }
}

/// What is printed with `--format json`.
#[derive(Debug, Serialize)]
struct Printed {
    store: String,
    restored: Vec<Restored>,
    attached: Vec<Attached>,
    /// Changes of earlier jobs that were not saved.
    unsaved: UnsavedAmount,
    daemon: Option<DaemonStats>,
    /// The socket of the share that restores come through, if they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<String>,
    /// Of the daemon's requests, where a price is known for the remote that the options name.
    estimated_cost_usd: Option<f64>,
}

pub(crate) fn run(global: &Global, _: &StatsArgs) -> anyhow::Result<u8> {
    let store = setup::store(global)?;
    let records = Records::new(&store);
    // What a daemon has done for others is not told to the clients of a share.
    let running = match store.share() {
        Some(_) => None,
        None => Client::connect_running(&store)?,
    };
    let daemon = running.map(|mut client| client.stats()).transpose()?;
    let mut restored = Vec::new();
    for record in records.all()? {
        let state = match (record.how, presence(&record, &records)?) {
            (How::Copy, _) => DIRECTORY,
            (How::Mount, Presence::Alive) => MOUNTED,
            (How::Mount, Presence::Dead) => DEAD,
            (How::Mount, Presence::Absent) => "not mounted here",
            (How::Mount, Presence::Hidden) => "hidden by a later mount",
        };
        restored.push(Restored {
            path: output::path(&record.path),
            key: record.name.key.to_string(),
            scope: record.name.scope.to_string(),
            how: record.how,
            state,
            layers: record.layers.len(),
        });
    }
    let attached = Attachments::new(&store).all()?.into_iter();
    let remote = setup::remote_spec(global, &store)?;
    let cost = daemon
        .as_ref()
        .and_then(|daemon| estimate(&remote.url, remote.endpoint.as_deref(), &daemon.traffic));
    let printed = Printed {
        estimated_cost_usd: cost,
        store: output::path(store.path()),
        restored,
        attached: attached.map(Attached::from).collect(),
        unsaved: Unsaved::new(&store).amount(),
        daemon,
        share: store.share().map(output::path),
    };
    match global.format {
        Format::Json => output::print_json(&printed)?,
        Format::Text => print(&printed),
        Format::Prometheus => output::print(prometheus::text(&printed).trim_end()),
    }
    Ok(exit::SUCCESS)
}

/// What earlier jobs left and nobody saved, in a few words.
pub(crate) fn unsaved(amount: &UnsavedAmount) -> String {
    let oldest = match amount.oldest_micros {
        Some(micros) => format!(", the oldest set aside {}", output::age(micros)),
        None => String::new(),
    };
    format!(
        "changes of {}, {}{oldest}",
        output::count(amount.directories, "earlier restore"),
        output::bytes(amount.bytes)
    )
}

fn print(stats: &Printed) {
    output::print(&format!("store    {}", stats.store));
    match &stats.daemon {
        None => output::print(&match &stats.share {
            Some(share) => format!("daemon   another store's, through {share}"),
            None => "daemon   not running".to_owned(),
        }),
        Some(daemon) => {
            output::print(&format!(
                "daemon   process {}, {} s, {}{}",
                daemon.pid,
                daemon.uptime_seconds,
                output::count(daemon.views.len() as u64, "view"),
                match daemon.restarts {
                    0 => String::new(),
                    restarts => format!(", restarted {}", output::count(restarts, "time")),
                }
            ));
            output::print(&format!(
                "cache    {} of {}",
                output::bytes(daemon.cache_bytes),
                output::bytes(daemon.cache_limit)
            ));
            output::print(&format!(
                "reads    {} from local data; {} fetched on demand, {} ahead",
                output::count(daemon.reads.local_frames, "frame"),
                output::bytes(daemon.reads.demand_bytes),
                output::bytes(daemon.reads.prefetch_bytes)
            ));
            let traffic = output::traffic(&daemon.traffic);
            let cost = stats.estimated_cost_usd.map(dollars);
            output::print(&match cost {
                Some(cost) => format!("remote   {traffic}; estimated cost {cost}"),
                None => format!("remote   {traffic}"),
            });
            let restores = &daemon.restores;
            output::print(&format!(
                "restores {} hit, {} in part, {} missed, {} failed",
                restores.exact, restores.partial, restores.missed, restores.failed
            ));
        }
    }
    if stats.unsaved.directories > 0 {
        output::print(&format!(
            "unsaved  {} in {}/unsaved",
            unsaved(&stats.unsaved),
            stats.store
        ));
    }
    for shown in &stats.attached {
        output::print(&format!(
            "attached {}  at {} in {}",
            shown.from,
            shown.path,
            named(&shown.container, shown.pid)
        ));
    }
    for restored in &stats.restored {
        output::print(&format!(
            "path     {}  {}  {} ({})",
            restored.path,
            restored.key,
            restored.state,
            output::count(restored.layers as u64, "layer")
        ));
    }
}
