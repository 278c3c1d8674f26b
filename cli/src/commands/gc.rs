//! `cachefs gc`.

use std::time::Duration;

use cachefs::Unsaved;
use cachefs_store::gc::{
    DEFAULT_GRACE, DropReason, Garbage, GcOptions, GcReport, MIN_GRACE, collect_garbage,
};
use cachefs_store::id::SaveId;
use clap::Args;
use serde::Serialize;

use crate::global::{Global, OutputFormat, parse_age};
use crate::progress::Display;
use crate::{exit, output, setup};

/// Options of `gc`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs gc --dry-run
  cachefs gc --older-than 90d")]
pub(crate) struct GcArgs {
    /// Only report what would be deleted
    #[arg(long)]
    dry_run: bool,
    /// Grace period before an unreferenced object is deleted: 2h or more; 0 only while nothing
    /// saves
    #[arg(long, value_name = "TIME", value_parser = parse_grace, default_value = "24h")]
    grace: Duration,
    /// Also delete keys of all scopes without a save for this long, for example 90d
    #[arg(long, value_name = "TIME", value_parser = parse_age)]
    older_than: Option<Duration>,
}

fn parse_grace(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "0s") {
        return Ok(Duration::ZERO);
    }
    let grace = parse_age(text)?;
    if grace < MIN_GRACE {
        return Err(format!(
            "{text} is too short to be safe while jobs save: use 2h or more (default {}h), or 0 while nothing saves",
            DEFAULT_GRACE.as_secs() / 3600
        ));
    }
    Ok(grace)
}

/// A dropped key in the output of `--format json`.
#[derive(Debug, Serialize)]
struct Dropped {
    key: String,
    scope: String,
    reason: DropReason,
    #[serde(
        rename = "saved_at",
        serialize_with = "crate::json_output::serialize_time"
    )]
    saved_micros: u64,
}

/// Output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedGc {
    dry_run: bool,
    keys: u64,
    dropped: Vec<Dropped>,
    removed: Garbage,
    removed_traces: usize,
    condemned: Garbage,
    waiting: Garbage,
    #[serde(
        rename = "next_at",
        serialize_with = "crate::json_output::serialize_optional_time"
    )]
    next_micros: Option<u64>,
    pardoned: u64,
    kept: Garbage,
    missing_layers: u64,
    unreadable_layers: u64,
    unreadable_records: u64,
    requests: output::RequestCounts,
}

pub(crate) fn run_gc(global: &Global, args: &GcArgs) -> anyhow::Result<u8> {
    if !args.dry_run {
        Unsaved::new(&setup::open_store(global)?).tidy();
    }
    let (runtime, remote) = setup::connect_remote(global)?;
    let options = GcOptions {
        grace: args.grace,
        older_than: args.older_than,
        dry_run: args.dry_run,
        now: SaveId::now().micros,
    };
    let display = Display::start("collecting")?;
    let report = runtime
        .block_on(async { collect_garbage(&remote.remote, &options, &display.job()).await })
        .map_err(cachefs::Error::from)?;
    drop(display);
    print_gc(&report, &options);
    if global.format == OutputFormat::Json {
        let plan = &report.plan;
        let dropped = plan.dropped.iter().map(|key| Dropped {
            key: key.name.key.to_string(),
            scope: key.name.scope.to_string(),
            reason: key.reason,
            saved_micros: key.newest,
        });
        output::print_json(&PrintedGc {
            dry_run: options.dry_run,
            keys: report.keys,
            dropped: dropped.collect(),
            removed: plan.removal.garbage(),
            removed_traces: plan.removal.traces.len(),
            condemned: plan.condemned,
            waiting: plan.waiting,
            next_micros: plan.next,
            pardoned: plan.pardoned,
            kept: plan.kept,
            missing_layers: report.missing,
            unreadable_layers: report.unreadable_layers.len() as u64,
            unreadable_records: report.unreadable.values().map(Vec::len).sum::<usize>() as u64,
            requests: (&remote.traffic()).into(),
        })?;
    }
    Ok(exit::SUCCESS)
}

fn print_gc(report: &GcReport, options: &GcOptions) {
    let plan = &report.plan;
    let would = |done: &str, doing: &str| match options.dry_run {
        true => format!("would {doing}"),
        false => done.to_owned(),
    };
    let drop = would("dropped", "drop");
    for key in &plan.dropped {
        let why = match key.reason {
            DropReason::Expired => "expired",
            DropReason::Old => "not saved for long",
        };
        let saved = output::format_age(key.newest);
        output::log_text(&format!("{drop} {}: {why}, last saved {saved}", key.name));
    }
    if report.missing > 0 {
        output::log_text(&format!(
            "warning: {} that keys need are missing; `cachefs check --all-scopes` lists the keys",
            output::format_count(report.missing, "layer")
        ));
    }
    warn_unreadable(report);
    let removed = plan.removal.garbage();
    let traces = match plan.removal.traces.len() as u64 {
        0 => String::new(),
        traces => format!(" and {}", output::format_count(traces, "trace")),
    };
    output::log_text(&format!(
        "{} {}{traces}",
        would("removed", "remove"),
        garbage_text(&removed)
    ));
    if plan.condemned != Garbage::default() {
        output::log_text(&format!(
            "{} {}: they are unreferenced; a run in {} deletes them if they still are",
            would("condemned", "condemn"),
            garbage_text(&plan.condemned),
            wait_text(options.grace.as_secs())
        ));
    }
    if plan.waiting != Garbage::default() {
        let next = plan.next.unwrap_or(options.now);
        let left = Duration::from_micros(next.saturating_sub(options.now));
        output::log_text(&format!(
            "waiting: {}, condemned by earlier runs; the first can be deleted in {}",
            garbage_text(&plan.waiting),
            wait_text(left.as_secs())
        ));
    }
    if plan.pardoned > 0 {
        output::log_text(&format!(
            "{} {} of earlier runs: keys need them again",
            would("pardoned", "pardon"),
            output::format_count(plan.pardoned, "object")
        ));
    }
    output::log_text(&format!(
        "kept {} of {}",
        garbage_text(&plan.kept),
        output::format_count(report.keys - plan.dropped.len() as u64, "key")
    ));
}

/// Maximum number of listed objects of one kind.
const NAMED: usize = 10;

/// Warns about unreadable objects, which keep other objects from being collected.
fn warn_unreadable(report: &GcReport) {
    for (name, records) in report.unreadable.iter().take(NAMED) {
        for record in records.iter().take(NAMED) {
            output::log_text(&format!("warning: {name}: {}", record.reason));
        }
    }
    if !report.unreadable.is_empty() {
        output::log_text(
            "hint: layers and packs that these records may reference are kept; delete the keys, or run gc with a newer version if that wrote them",
        );
    }
    for (layer, names) in report.unreadable_layers.iter().take(NAMED) {
        output::log_text(&format!("warning: layer {layer} cannot be read"));
        for name in names.iter().take(NAMED) {
            let (scope, key) = (&name.scope, &name.key);
            output::log_text(&format!(
                "  needed by {name}: `cachefs delete {key} --scope {scope}` deletes it"
            ));
        }
        if names.len() > NAMED {
            output::log_text(&format!("  and by {} more", names.len() - NAMED));
        }
    }
    if !report.unreadable_layers.is_empty() {
        output::log_text(
            "hint: no pack is deleted while these layers are in use, because they may need any; run gc with a newer version if that wrote them, or delete the keys",
        );
    }
}

fn garbage_text(garbage: &Garbage) -> String {
    format!(
        "{} and {} ({})",
        output::format_count(garbage.layers, "layer"),
        output::format_count(garbage.packs, "pack"),
        output::format_bytes(garbage.bytes)
    )
}

/// Formats a waiting time, rounded up to minutes or hours.
fn wait_text(seconds: u64) -> String {
    match seconds {
        0..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}
