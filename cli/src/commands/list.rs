//! `cachefs list`.

use std::sync::Arc;

use cachefs_store::id::SaveId;
use cachefs_store::layer::TreeTotals;
use cachefs_store::refs::{ListedKey, RefRecord, list_keys, read_newest, tree_totals};
use cachefs_store::remote::DynRemote;
use clap::Args;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::global::{Global, OutputFormat};
use crate::{exit, output, setup};

/// So many records are read at the same time.
const READS: usize = 32;

/// Options of `list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs list npm- --scope branch/main")]
pub(crate) struct ListArgs {
    /// List only keys with this prefix
    #[arg(value_name = "PREFIX", default_value = "")]
    prefix: String,
}

/// A key in the output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedKey {
    key: String,
    scope: String,
    #[serde(
        rename = "saved_at",
        serialize_with = "crate::json_output::serialize_time"
    )]
    saved_micros: u64,
    saves: usize,
    /// Of the tree of all its paths; null when they are not known.
    files: Option<u64>,
    bytes: Option<u64>,
    /// When it expires or expired; null for never.
    #[serde(
        rename = "expires_at",
        serialize_with = "crate::json_output::serialize_optional_time"
    )]
    expires_micros: Option<u64>,
    /// Whether it has expired: restores pass it over, and `cachefs gc` drops it.
    expired: bool,
    /// Of a key of several paths: these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<String>,
}

/// The JSON output.
#[derive(Debug, Serialize)]
struct PrintedList {
    keys: Vec<PrintedKey>,
}

pub(crate) fn run_list(global: &Global, args: &ListArgs) -> anyhow::Result<u8> {
    let scope = setup::own_scope(global)?;
    let (runtime, remote) = setup::connect_remote(global)?;
    let listed = runtime
        .block_on(async { list_keys(&remote.remote, &scope, &args.prefix).await })
        .map_err(cachefs::Error::from)?;
    let records = runtime.block_on(newest_records(&remote.remote, &listed));
    let keys = printed_keys(&listed, &records);
    if global.format == OutputFormat::Json {
        output::print_json(&PrintedList { keys })?;
        return Ok(exit::SUCCESS);
    }
    if keys.is_empty() {
        output::log_text(&format!("no keys in scope {scope}"));
    }
    for key in keys {
        let paths = match key.paths.len() {
            0 => String::new(),
            paths => format!("  ({})", output::format_count(paths as u64, "path")),
        };
        let age = output::format_age(key.saved_micros);
        let size = match (key.files, key.bytes) {
            (Some(files), Some(bytes)) => {
                let files = output::format_count(files, "file");
                format!("  {files}, {}", output::format_bytes(bytes))
            }
            _ => String::new(),
        };
        let end = match key.expires_micros {
            Some(expires) if key.expired => format!("  expired {}", output::format_until(expires)),
            Some(expires) => format!("  expires {}", output::format_until(expires)),
            None => String::new(),
        };
        output::print_text(&format!("{}  {age}{paths}{size}{end}", key.key));
    }
    Ok(exit::SUCCESS)
}

/// The newest record of each; `None` for one that cannot be read, which `check` tells of.
async fn newest_records(remote: &DynRemote, listed: &[ListedKey]) -> Vec<Option<RefRecord>> {
    let permits = Arc::new(Semaphore::new(READS));
    let mut reads = JoinSet::new();
    for (number, listed) in listed.iter().cloned().enumerate() {
        let (remote, permits) = (remote.clone(), Arc::clone(&permits));
        reads.spawn(async move {
            // It is never closed; without a permit there are only more at once.
            let _permit = permits.acquire().await;
            (number, read_newest(&remote, &listed).await)
        });
    }
    let mut records = vec![None; listed.len()];
    while let Some(read) = reads.join_next().await {
        match read {
            Ok((number, Ok(record))) => records[number] = record,
            Ok((_, Err(error))) => tracing::info!("ignoring a record: {error}"),
            Err(_) => {}
        }
    }
    records
}

/// Totals of the tree of a key, or of one part; unknown for the union of several saves.
fn listed_totals(listed: &ListedKey, record: Option<&RefRecord>) -> Option<TreeTotals> {
    let record = record.filter(|_| listed.saves.len() == 1)?;
    tree_totals(&record.layers, [record])
}

/// An entry for each key, with all its parts, the newest first.
fn printed_keys(listed: &[ListedKey], records: &[Option<RefRecord>]) -> Vec<PrintedKey> {
    let now = SaveId::now().micros;
    let mut entries: Vec<PrintedKey> = Vec::new();
    for (listed, record) in listed.iter().zip(records) {
        let tree = listed_totals(listed, record.as_ref());
        let expires = record.as_ref().and_then(|record| record.expires);
        let expired = record.as_ref().is_some_and(|record| record.is_expired(now));
        let name = &listed.name;
        let known = entries.iter().position(|entry| {
            (&*entry.key, &*entry.scope) == (name.key.as_str(), name.scope.as_str())
        });
        let entry = match known {
            Some(known) => &mut entries[known],
            None => {
                entries.push(PrintedKey {
                    key: name.key.to_string(),
                    scope: name.scope.to_string(),
                    saved_micros: listed.newest,
                    saves: 0,
                    files: Some(0),
                    bytes: Some(0),
                    expires_micros: expires,
                    expired,
                    paths: Vec::new(),
                });
                let last = entries.len() - 1;
                &mut entries[last]
            }
        };
        entry.saves += listed.saves.len();
        let sum = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
        entry.files = sum(entry.files, tree.map(|tree| tree.files));
        entry.bytes = sum(entry.bytes, tree.map(|tree| tree.bytes));
        // A key is there for as long as any of its paths.
        entry.expired &= expired;
        entry.expires_micros = match (entry.expires_micros, expires) {
            (Some(a), Some(b)) => Some(a.max(b)),
            _ => None,
        };
        entry
            .paths
            .extend(name.part.as_ref().map(ToString::to_string));
        entry.paths.sort();
    }
    entries
}
