//! `cachefs gc`.

use std::time::Duration;

use cachefs::Unsaved;
use cachefs_store::gc::{
    DEFAULT_GRACE, DropReason, Garbage, GcOptions, MIN_GRACE, Report, collect,
};
use cachefs_store::id::SaveId;
use clap::Args;
use serde::Serialize;

use crate::global::{Format, Global, parse_age};
use crate::progress::Display;
use crate::{exit, output, setup};

/// Options of `gc`.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
    /// How long what is found to be without use stays: 2h or more, or 0 when no job saves
    #[arg(long, value_name = "TIME", value_parser = parse_grace, default_value = "24h")]
    grace: Duration,
    /// Also drop keys, of all scopes, that were not saved for so long, such as 90d
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
            "{text} is too short to be safe while jobs save: at least 2h, or 0 when none does; {}h is usual",
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
    saved_micros: u64,
}

/// What is printed with `--format json`.
#[derive(Debug, Serialize)]
struct Printed {
    dry_run: bool,
    keys: u64,
    dropped: Vec<Dropped>,
    removed: Garbage,
    removed_traces: usize,
    condemned: Garbage,
    waiting: Garbage,
    next_micros: Option<u64>,
    pardoned: u64,
    kept: Garbage,
    missing_layers: u64,
    unreadable_layers: u64,
    unreadable_records: u64,
    requests: output::Requests,
}

pub(crate) fn run(global: &Global, args: &GcArgs) -> anyhow::Result<u8> {
    if !args.dry_run {
        Unsaved::new(&setup::store(global)?).tidy();
    }
    let (runtime, remote) = setup::remote(global)?;
    let options = GcOptions {
        grace: args.grace,
        older_than: args.older_than,
        dry_run: args.dry_run,
        now: SaveId::now().micros,
    };
    let display = Display::start("collecting")?;
    let report = runtime
        .block_on(async { collect(&remote.remote, &options, &display.job()).await })
        .map_err(cachefs::Error::from)?;
    drop(display);
    print(&report, &options);
    if global.format == Format::Json {
        let plan = &report.plan;
        let dropped = plan.dropped.iter().map(|key| Dropped {
            key: key.name.key.to_string(),
            scope: key.name.scope.to_string(),
            reason: key.reason,
            saved_micros: key.newest,
        });
        output::print_json(&Printed {
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

fn print(report: &Report, options: &GcOptions) {
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
        let saved = output::age(key.newest);
        output::say(&format!("{drop} {}: {why}, last saved {saved}", key.name));
    }
    if report.missing > 0 {
        output::say(&format!(
            "warning: {} that keys name are not there; `cachefs check --all-scopes` says whose",
            output::count(report.missing, "layer")
        ));
    }
    warn(report);
    let removed = plan.removal.garbage();
    let traces = match plan.removal.traces.len() as u64 {
        0 => String::new(),
        traces => format!(" and {}", output::count(traces, "trace")),
    };
    output::say(&format!(
        "{} {}{traces}",
        would("removed", "remove"),
        garbage(&removed)
    ));
    if plan.condemned != Garbage::default() {
        output::say(&format!(
            "{} {}: nothing needs them, and they go with a run in {} if that stays so",
            would("condemned", "condemn"),
            garbage(&plan.condemned),
            wait(options.grace.as_secs())
        ));
    }
    if plan.waiting != Garbage::default() {
        let next = plan.next.unwrap_or(options.now);
        let left = Duration::from_micros(next.saturating_sub(options.now));
        output::say(&format!(
            "waiting: {}, condemned by earlier runs, the first of them for {} more",
            garbage(&plan.waiting),
            wait(left.as_secs())
        ));
    }
    if plan.pardoned > 0 {
        output::say(&format!(
            "{} {} of earlier runs: keys need them again",
            would("pardoned", "pardon"),
            output::count(plan.pardoned, "object")
        ));
    }
    output::say(&format!(
        "kept {} of {}",
        garbage(&plan.kept),
        output::count(report.keys - plan.dropped.len() as u64, "key")
    ));
}

/// So many objects of one kind are named.
const NAMED: usize = 10;

/// Names what cannot be read, and so keeps other things from being collected.
fn warn(report: &Report) {
    for (name, records) in report.unreadable.iter().take(NAMED) {
        for record in records.iter().take(NAMED) {
            output::say(&format!("warning: {name}: {}", record.reason));
        }
    }
    if !report.unreadable.is_empty() {
        output::say(
            "hint: the layers and packs that these records may name are kept; delete the keys, or \
             collect with a newer version if that wrote them",
        );
    }
    for (layer, names) in report.unreadable_layers.iter().take(NAMED) {
        output::say(&format!("warning: layer {layer} cannot be read"));
        for name in names.iter().take(NAMED) {
            let (scope, key) = (&name.scope, &name.key);
            output::say(&format!(
                "  needed by {name}: `cachefs delete {key} --scope {scope}` deletes it"
            ));
        }
        if names.len() > NAMED {
            output::say(&format!("  and by {} more", names.len() - NAMED));
        }
    }
    if !report.unreadable_layers.is_empty() {
        output::say(
            "hint: no pack is removed while these layers are in use, because they may need any; \
             collect with a newer version if that wrote them, or delete the keys",
        );
    }
}

fn garbage(garbage: &Garbage) -> String {
    format!(
        "{} and {} ({})",
        output::count(garbage.layers, "layer"),
        output::count(garbage.packs, "pack"),
        output::bytes(garbage.bytes)
    )
}

/// A time to wait, rounded up to minutes or hours.
fn wait(seconds: u64) -> String {
    match seconds {
        0..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}
