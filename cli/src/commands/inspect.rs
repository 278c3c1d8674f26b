//! `cachefs inspect`.

use cachefs_store::id::SaveId;
use cachefs_store::refs::{
    Creator, LayerInfo, Listed, Part, Platform, Record, RefName, read_records, totals, unite,
};
use cachefs_store::remote::DynRemote;
use clap::Args;
use serde::Serialize;

use super::holder::{holder, missing};
use crate::global::{Format, Global};
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
    saved_micros: u64,
    /// When it expires or expired; null for never.
    expires_micros: Option<u64>,
    expired: bool,
    /// Of the tree; null when they are not known.
    files: Option<u64>,
    bytes: Option<u64>,
    creator: &'a Creator,
    platform: &'a Platform,
    layers: Vec<PrintedLayer<'a>>,
    parts: &'a serde_json::Value,
}

#[derive(Debug, Serialize)]
struct PrintedLayer<'a> {
    #[serde(flatten)]
    info: &'a LayerInfo,
    /// As `created`, which it was called first.
    saved_micros: u64,
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
    let mut name = setup::name(global, &args.key)?;
    let scopes = setup::scopes(global)?.all();
    let (runtime, remote) = setup::remote(global)?;
    let remote = &remote.remote;
    let contents = runtime.block_on(async {
        let found = holder(remote, &scopes, &name.key).await;
        let Some((scope, listed)) = found.map_err(cachefs::Error::from)? else {
            return Err(missing(remote, &scopes, &name.key).await);
        };
        name.scope = scope;
        Ok(read(remote, listed).await.map_err(cachefs::Error::from)?)
    })?;
    if contents.is_empty() {
        // It was deleted meanwhile.
        return Err(runtime.block_on(missing(remote, &scopes, &name.key)));
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

async fn read(remote: &DynRemote, mut listed: Vec<Listed>) -> cachefs_store::Result<Vec<Contents>> {
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
    let newest = &contents.records[contents.records.len() - 1];
    let tree = totals(&contents.layers, &contents.records);
    let layers = contents.layers.iter().map(|info| PrintedLayer {
        info,
        saved_micros: info.created,
    });
    Printed {
        saved_micros: newest.id.micros,
        expires_micros: newest.expires,
        expired: newest.is_expired(SaveId::now().micros),
        files: tree.map(|tree| tree.files),
        bytes: tree.map(|tree| tree.bytes),
        creator: &newest.creator,
        platform: &newest.platform,
        key: contents.name.key.as_str(),
        scope: contents.name.scope.as_str(),
        path: contents.name.part.as_ref().map(Part::as_str),
        saves: contents.records.len(),
        layers: layers.collect(),
        parts: &newest.parts,
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
    if let Some(expires) = newest.expires {
        let verb = match newest.is_expired(SaveId::now().micros) {
            true => "expired ",
            false => "expires ",
        };
        output::print(&format!("{verb} {}", output::until(expires)));
    }
    if let Some(tree) = totals(layers, records) {
        output::print(&format!(
            "tree     {}, {}",
            output::count(tree.files, "file"),
            output::bytes(tree.bytes)
        ));
    }
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
