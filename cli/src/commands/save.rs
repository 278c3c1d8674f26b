//! `cachefs save`.

use std::path::PathBuf;
use std::sync::Arc;

use cachefs::save::{Outcome, Report, SaveOptions, save};
use cachefs_store::refs::RefName;
use cachefs_store::save::Everything;
use clap::Args;
use serde::Serialize;

use crate::args::{Format, Global};
use crate::progress::Display;
use crate::{exit, machine, output, setup};

/// Options of `save`.
#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// The key, such as 'm2-{{ checksum "pom.xml" }}'
    #[arg(long, value_name = "KEY")]
    key: String,
    /// The directory to save
    #[arg(long, value_name = "DIR")]
    path: PathBuf,
    /// Only find out what would be saved
    #[arg(long)]
    dry_run: bool,
    /// Read every file, also those that have the size and times that an earlier save found
    #[arg(long, short = 'I')]
    ignore_times: bool,
}

/// What is printed with `--format json`.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    key: &'a str,
    scope: &'a str,
    result: &'static str,
    layers: usize,
    files: u64,
    bytes: u64,
    added: u64,
    modified: u64,
    removed: u64,
    new_bytes: u64,
    new_raw_bytes: u64,
    skipped: Vec<String>,
    squashed: Option<usize>,
    united: usize,
    milliseconds: f64,
    requests: output::Requests,
    bytes_sent: u64,
    bytes_received: u64,
}

pub(crate) fn run(global: &Global, args: &SaveArgs) -> anyhow::Result<u8> {
    let (key, expanded) = setup::key(&args.key, std::slice::from_ref(&args.path))?;
    let store = setup::store(global)?;
    let options = SaveOptions {
        path: args.path.clone(),
        exclude: Arc::new(Everything),
        name: RefName::new(setup::scope(global)?, key),
        remote: setup::remote_spec(global, &store)?,
        deadline: global.timeout,
        creator: machine::creator(),
        platform: machine::platform(),
        parts: serde_json::to_value(&expanded.parts)?,
        dry_run: args.dry_run,
        ignore_times: args.ignore_times,
    };
    let display = Display::start("saving")?;
    let report = save(&store, &options, &display)?;
    drop(display);
    print(global, &options, &report)?;
    Ok(exit::SUCCESS)
}

fn print(global: &Global, options: &SaveOptions, report: &Report) -> anyhow::Result<()> {
    for skipped in report.skipped.iter().take(10) {
        output::say(&format!(
            "note: skipped the {} {}",
            skipped.what,
            output::path(&skipped.path)
        ));
    }
    if report.skipped.len() > 10 {
        output::say(&format!("note: and {} more", report.skipped.len() - 10));
    }
    summary(options, report);
    if global.format == Format::Json {
        let printed = Printed {
            key: options.name.key.as_str(),
            scope: options.name.scope.as_str(),
            result: match report.outcome {
                Outcome::Unchanged => "unchanged",
                Outcome::Linked => "linked",
                Outcome::Saved(_) => "saved",
                Outcome::WouldSave => "would_save",
            },
            layers: report.layers.len(),
            files: report.scanned.0,
            bytes: report.scanned.1,
            added: report.changes.0,
            modified: report.changes.1,
            removed: report.changes.2,
            new_bytes: new_bytes(report),
            new_raw_bytes: report.new_raw,
            skipped: report
                .skipped
                .iter()
                .map(|skipped| output::path(&skipped.path))
                .collect(),
            squashed: report.squashed,
            united: report.united,
            milliseconds: report.elapsed.as_secs_f64() * 1000.0,
            requests: (&report.traffic).into(),
            bytes_sent: report.traffic.bytes_out,
            bytes_received: report.traffic.bytes_in,
        };
        output::print_json(&printed)?;
    }
    Ok(())
}

fn new_bytes(report: &Report) -> u64 {
    match &report.outcome {
        Outcome::Saved(layer) => layer.new_bytes,
        _ => 0,
    }
}

fn summary(options: &SaveOptions, report: &Report) {
    let key = &options.name.key;
    let took = output::span(report.elapsed);
    let traffic = output::traffic(&report.traffic);
    let (added, modified, removed) = report.changes;
    let changes = format!("{added} added, {modified} modified, {removed} removed");
    let looked_at = format!(
        "{}, {}",
        output::count(report.scanned.0, "file"),
        output::bytes(report.scanned.1)
    );
    output::say(&match &report.outcome {
        Outcome::Unchanged => {
            format!("unchanged {key}: nothing to save ({looked_at} looked at in {took}; {traffic})")
        }
        Outcome::Linked => format!(
            "saved {key}: same content as the cache it was restored from, nothing to store ({took}; {traffic})"
        ),
        Outcome::WouldSave => format!(
            "would save {key}: {changes}; {} of new data before compression ({looked_at} looked at in {took})",
            output::bytes(report.new_raw)
        ),
        Outcome::Saved(layer) => format!(
            "saved {key}: {changes}, {} new as layer {} ({looked_at} looked at in {took}; {traffic})",
            output::bytes(layer.new_bytes),
            report.layers.len(),
        ),
    });
    if report.united > 0 {
        output::say(&format!(
            "note: {} of other jobs under this key became part of it",
            output::count(report.united as u64, "save")
        ));
    }
    if let Some(layers) = report.squashed {
        output::say(&format!(
            "note: {layers} layers were squashed into one; no data was rewritten"
        ));
    }
}
