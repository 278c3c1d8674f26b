//! `cachefs inspect`.

use cachefs_store::id::SaveId;
use cachefs_store::refs::{
    CachePart, Creator, LayerInfo, ListedKey, Platform, RefName, RefRecord, read_records,
    tree_totals, unite_records,
};
use cachefs_store::remote::DynRemote;
use clap::Args;
use serde::Serialize;

use super::key_scope::{find_holder, missing_key_error};
use crate::global::{Global, OutputFormat};
use crate::{exit, output, setup};

/// Options of `inspect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs inspect npm-main")]
pub(crate) struct InspectArgs {
    /// The key
    #[arg(value_name = "KEY")]
    key: String,
}

/// The JSON output: a key of one path, or one of its paths.
#[derive(Debug, Serialize)]
struct PrintedInspect<'a> {
    key: &'a str,
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    saves: usize,
    #[serde(
        rename = "saved_at",
        serialize_with = "crate::json_output::serialize_time"
    )]
    saved_micros: u64,
    /// When it expires or expired; null for never.
    #[serde(
        rename = "expires_at",
        serialize_with = "crate::json_output::serialize_optional_time"
    )]
    expires_micros: Option<u64>,
    expired: bool,
    /// Of the tree; null when they are not known.
    files: Option<u64>,
    bytes: Option<u64>,
    creator: &'a Creator,
    platform: &'a Platform,
    layers: Vec<InspectedLayer<'a>>,
    parts: &'a serde_json::Value,
}

#[derive(Debug, Serialize)]
struct InspectedLayer<'a> {
    #[serde(flatten)]
    info: &'a LayerInfo,
    /// As `created`, which it was called first.
    #[serde(
        rename = "saved_at",
        serialize_with = "crate::json_output::serialize_time"
    )]
    saved_micros: u64,
}

/// The JSON output about a key of several paths.
#[derive(Debug, Serialize)]
struct InspectedParts<'a> {
    key: &'a str,
    scope: &'a str,
    paths: Vec<PrintedInspect<'a>>,
}

/// The content of one path of a key.
struct InspectedContents {
    name: RefName,
    layers: Vec<LayerInfo>,
    /// Never empty; the newest last.
    records: Vec<RefRecord>,
}

pub(crate) fn run_inspect(global: &Global, args: &InspectArgs) -> anyhow::Result<u8> {
    let mut name = setup::ref_name(global, &args.key)?;
    let scopes = setup::lookup_scopes(global)?.all();
    let (runtime, remote) = setup::connect_remote(global)?;
    let remote = &remote.remote;
    let contents = runtime.block_on(async {
        let found = find_holder(remote, &scopes, &name.key).await;
        let Some((scope, listed)) = found.map_err(cachefs::Error::from)? else {
            return Err(missing_key_error(remote, &scopes, &name.key).await);
        };
        name.scope = scope;
        Ok(read_contents(remote, listed)
            .await
            .map_err(cachefs::Error::from)?)
    })?;
    if contents.is_empty() {
        // It was deleted meanwhile.
        return Err(runtime.block_on(missing_key_error(remote, &scopes, &name.key)));
    }
    if global.format == OutputFormat::Json {
        print_json(&name, &contents)?;
        return Ok(exit::SUCCESS);
    }
    for (number, contents) in contents.iter().enumerate() {
        if number > 0 {
            output::print_text("");
        }
        print_contents(contents);
    }
    Ok(exit::SUCCESS)
}

async fn read_contents(
    remote: &DynRemote,
    mut listed: Vec<ListedKey>,
) -> cachefs_store::Result<Vec<InspectedContents>> {
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    let mut contents = Vec::with_capacity(listed.len());
    for ListedKey { name, .. } in listed {
        let (layers, records) = unite_records(read_records(remote, &name).await?);
        // Deleted meanwhile, if it is empty.
        if !records.is_empty() {
            contents.push(InspectedContents {
                name,
                layers,
                records,
            });
        }
    }
    Ok(contents)
}

fn print_json(name: &RefName, contents: &[InspectedContents]) -> anyhow::Result<()> {
    match contents {
        [one] if one.name.part.is_none() => output::print_json(&printed_inspect(one)),
        several => output::print_json(&InspectedParts {
            key: name.key.as_str(),
            scope: name.scope.as_str(),
            paths: several.iter().map(printed_inspect).collect(),
        }),
    }
}

fn printed_inspect(contents: &InspectedContents) -> PrintedInspect<'_> {
    let newest = &contents.records[contents.records.len() - 1];
    let tree = tree_totals(&contents.layers, &contents.records);
    let layers = contents.layers.iter().map(|info| InspectedLayer {
        info,
        saved_micros: info.created,
    });
    PrintedInspect {
        saved_micros: newest.id.micros,
        expires_micros: newest.expires,
        expired: newest.is_expired(SaveId::now().micros),
        files: tree.map(|tree| tree.files),
        bytes: tree.map(|tree| tree.bytes),
        creator: &newest.creator,
        platform: &newest.platform,
        key: contents.name.key.as_str(),
        scope: contents.name.scope.as_str(),
        path: contents.name.part.as_ref().map(CachePart::as_str),
        saves: contents.records.len(),
        layers: layers.collect(),
        parts: &newest.parts,
    }
}

fn print_contents(contents: &InspectedContents) {
    let InspectedContents {
        name,
        layers,
        records,
    } = contents;
    let newest = &records[records.len() - 1];
    output::print_text(&format!("key      {}", name.key));
    output::print_text(&format!("scope    {}", name.scope));
    if let Some(part) = &name.part {
        output::print_text(&format!("path     {part}"));
    }
    let creator = &newest.creator;
    let job = creator
        .job
        .as_deref()
        .map(|job| format!(" ({job})"))
        .unwrap_or_default();
    output::print_text(&format!(
        "saved    {} by {}{job}",
        output::format_age(newest.id.micros),
        creator.host
    ));
    if let Some(expires) = newest.expires {
        let verb = match newest.is_expired(SaveId::now().micros) {
            true => "expired ",
            false => "expires ",
        };
        output::print_text(&format!("{verb} {}", output::format_until(expires)));
    }
    if let Some(tree) = tree_totals(layers, records) {
        output::print_text(&format!(
            "tree     {}, {}",
            output::format_count(tree.files, "file"),
            output::format_bytes(tree.bytes)
        ));
    }
    let platform = &newest.platform;
    output::print_text(&format!("platform {} {}", platform.os, platform.arch));
    if records.len() > 1 {
        output::print_text(&format!(
            "saves    {} jobs saved at the same time; this is their union",
            records.len()
        ));
    }
    output::print_text("");
    output::print_text(&format!(
        "{:>3}  {:14}  {:>8}  {:>9}  {:>9}  {:>7}  {:14}  {:12}  key",
        "#", "layer", "files", "bytes", "new", "removed", "saved", "by"
    ));
    for (number, layer) in layers.iter().enumerate().rev() {
        output::print_text(&format!(
            "{:>3}  {:14}  {:>8}  {:>9}  {:>9}  {:>7}  {:14}  {:12}  {}",
            number + 1,
            &layer.id.to_string()[..14],
            layer.summary.files,
            output::format_bytes(layer.summary.bytes),
            output::format_bytes(layer.new_bytes),
            layer.summary.whiteouts,
            output::format_age(layer.created),
            layer.creator.host,
            layer.key,
        ));
    }
}
