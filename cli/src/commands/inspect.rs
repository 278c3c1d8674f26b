//! `cachefs inspect`.

use cachefs_store::refs::{LayerInfo, read_records, unite};
use clap::Args;
use serde::Serialize;

use crate::args::{Format, Global};
use crate::{exit, output, setup};

/// Options of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The key
    #[arg(value_name = "KEY")]
    key: String,
}

/// What is printed with `--format json`.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    key: String,
    scope: String,
    saves: usize,
    layers: &'a [LayerInfo],
    parts: &'a serde_json::Value,
}

pub(crate) fn run(global: &Global, args: &InspectArgs) -> anyhow::Result<u8> {
    let name = setup::name(global, &args.key)?;
    let (runtime, remote) = setup::remote(global)?;
    let records = runtime
        .block_on(async { read_records(&remote.remote, &name).await })
        .map_err(cachefs::Error::from)?;
    if records.is_empty() {
        output::complain(
            "error",
            &format!("there is no key {name}"),
            Some("`cachefs list` shows the keys that there are"),
        );
        return Ok(exit::MISS);
    }
    let (layers, records) = unite(records);
    let newest = &records[records.len() - 1];
    if global.format == Format::Json {
        let (key, scope) = (name.key.to_string(), name.scope.to_string());
        let printed = Printed {
            key,
            scope,
            saves: records.len(),
            layers: &layers,
            parts: &newest.parts,
        };
        output::print_json(&printed)?;
        return Ok(exit::SUCCESS);
    }
    output::print(&format!("key      {}", name.key));
    output::print(&format!("scope    {}", name.scope));
    let creator = &newest.creator;
    let job = creator
        .job
        .as_deref()
        .map(|job| format!(" ({job})"))
        .unwrap_or_default();
    output::print(&format!(
        "saved    {} by {}{job}",
        output::age(newest.id.micros),
        creator.host
    ));
    let platform = &newest.platform;
    output::print(&format!("platform {} {}", platform.os, platform.arch));
    if records.len() > 1 {
        output::print(&format!(
            "saves    {} jobs saved at the same time; this is their union",
            records.len()
        ));
    }
    output::print("");
    output::print(&format!(
        "{:>3}  {:14}  {:>8}  {:>9}  {:>9}  {:>7}  {:14}  {:12}  key",
        "#", "layer", "files", "bytes", "new", "removed", "saved", "by"
    ));
    for (number, layer) in layers.iter().enumerate().rev() {
        output::print(&format!(
            "{:>3}  {:14}  {:>8}  {:>9}  {:>9}  {:>7}  {:14}  {:12}  {}",
            number + 1,
            &layer.id.to_string()[..14],
            layer.summary.files,
            output::bytes(layer.summary.bytes),
            output::bytes(layer.new_bytes),
            layer.summary.whiteouts,
            output::age(layer.created),
            layer.creator.host,
            layer.key,
        ));
    }
    Ok(exit::SUCCESS)
}
