//! `cachefs stats`.

use cachefs::mounts::{How, Presence, Records, presence};
use cachefs::{Client, DaemonStats};
use clap::Args;
use serde::Serialize;

use crate::args::{Format, Global};
use crate::{exit, output, setup};

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

/// What is printed with `--format json`.
#[derive(Debug, Serialize)]
struct Printed {
    store: String,
    restored: Vec<Restored>,
    daemon: Option<DaemonStats>,
}

pub(crate) fn run(global: &Global, _: &StatsArgs) -> anyhow::Result<u8> {
    let store = setup::store(global)?;
    let records = Records::new(&store);
    let daemon = Client::connect_running(&store)?
        .map(|mut client| client.stats())
        .transpose()?;
    let mut restored = Vec::new();
    for record in records.all()? {
        let state = match (record.how, presence(&record, &records)?) {
            (How::Copy, _) => "plain directory",
            (How::Mount, Presence::Alive) => "mounted",
            (How::Mount, Presence::Dead) => "dead; restore it again to repair it",
            (How::Mount, Presence::Absent) => "not mounted here",
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
    let printed = Printed {
        store: output::path(store.path()),
        restored,
        daemon,
    };
    match global.format {
        Format::Json => output::print_json(&printed)?,
        Format::Text => print(&printed),
    }
    Ok(exit::SUCCESS)
}

fn print(stats: &Printed) {
    output::print(&format!("store    {}", stats.store));
    match &stats.daemon {
        None => output::print("daemon   not running"),
        Some(daemon) => {
            output::print(&format!(
                "daemon   process {}, {} s, {}",
                daemon.pid,
                daemon.uptime_seconds,
                output::count(daemon.views.len() as u64, "view")
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
            output::print(&format!("remote   {}", output::traffic(&daemon.traffic)));
        }
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
