//! `cachefs inspect`.

use cachefs_store::refs::{
    LayerInfo, Listed, Part, Record, RefName, list_parts, read_records, unite,
};
use cachefs_store::remote::DynRemote;
use clap::Args;
use serde::Serialize;

use crate::args::{Format, Global};
use crate::failure::absent;
use crate::{exit, output, setup};

/// Options of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The key
    #[arg(value_name = "KEY")]
    key: String,
}

/// What is printed with `--format json`: a key of one path, or one of its paths.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    key: &'a str,
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    saves: usize,
    layers: &'a [LayerInfo],
    parts: &'a serde_json::Value,
}

/// What is printed of a key of several paths.
#[derive(Debug, Serialize)]
struct Several<'a> {
    key: &'a str,
    scope: &'a str,
    paths: Vec<Printed<'a>>,
}

/// What one path of a key holds.
struct Contents {
    name: RefName,
    layers: Vec<LayerInfo>,
    /// Never empty; the newest last.
    records: Vec<Record>,
}

pub(crate) fn run(global: &Global, args: &InspectArgs) -> anyhow::Result<u8> {
    let name = setup::name(global, &args.key)?;
    let (runtime, remote) = setup::remote(global)?;
    let contents = runtime
        .block_on(read(&remote.remote, &name))
        .map_err(cachefs::Error::from)?;
    if contents.is_empty() {
        return Err(absent(
            format!("there is no key {name}"),
            Some("`cachefs list` shows the keys that there are"),
        ));
    }
    if global.format == Format::Json {
        print_json(&name, &contents)?;
        return Ok(exit::SUCCESS);
    }
    for (number, contents) in contents.iter().enumerate() {
        if number > 0 {
            output::print("");
        }
        print(contents);
    }
    Ok(exit::SUCCESS)
}

async fn read(remote: &DynRemote, name: &RefName) -> cachefs_store::Result<Vec<Contents>> {
    let mut listed = list_parts(remote, &name.scope, &name.key).await?;
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    let mut contents = Vec::with_capacity(listed.len());
    for Listed { name, .. } in listed {
        let (layers, records) = unite(read_records(remote, &name).await?);
        // Deleted meanwhile, if it is empty.
        if !records.is_empty() {
            contents.push(Contents {
                name,
                layers,
                records,
            });
        }
    }
    Ok(contents)
}

fn print_json(name: &RefName, contents: &[Contents]) -> anyhow::Result<()> {
    match contents {
        [one] if one.name.part.is_none() => output::print_json(&printed(one)),
        several => output::print_json(&Several {
            key: name.key.as_str(),
            scope: name.scope.as_str(),
            paths: several.iter().map(printed).collect(),
        }),
    }
}

fn printed(contents: &Contents) -> Printed<'_> {
    Printed {
        key: contents.name.key.as_str(),
        scope: contents.name.scope.as_str(),
        path: contents.name.part.as_ref().map(Part::as_str),
        saves: contents.records.len(),
        layers: &contents.layers,
        parts: &contents.records[contents.records.len() - 1].parts,
    }
}

fn print(contents: &Contents) {
    let Contents {
        name,
        layers,
        records,
    } = contents;
    let newest = &records[records.len() - 1];
    output::print(&format!("key      {}", name.key));
    output::print(&format!("scope    {}", name.scope));
    if let Some(part) = &name.part {
        output::print(&format!("path     {part}"));
    }
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
}
