//! `cachefs scopes`.

use std::time::Duration;

use cachefs_store::id::SaveId;
use cachefs_store::refs::{ScopeSummary, delete_name, list_keys, list_scopes};
use cachefs_store::remote::DynRemote;
use cachefs_store::repository::refuse_newer_format;
use clap::Args;
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::global::{Global, OutputFormat, parse_age};
use crate::{exit, output, setup};

/// Options of `scopes`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs scopes pr/
  cachefs scopes pr/ --older-than 30d --delete --dry-run")]
pub(crate) struct ScopesArgs {
    /// List only scopes with this prefix, for example pr/
    #[arg(value_name = "PREFIX", default_value = "")]
    prefix: String,
    /// List only scopes without a save for this long, for example 30d
    #[arg(long, value_name = "TIME", value_parser = parse_age)]
    older_than: Option<Duration>,
    /// Delete all keys of the listed scopes
    #[arg(long, requires = "older_than")]
    delete: bool,
    /// With --delete: only report what would be deleted
    #[arg(long, requires = "delete")]
    dry_run: bool,
}

/// A scope in the output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedScope {
    scope: String,
    keys: usize,
    #[serde(
        rename = "saved_at",
        serialize_with = "crate::json_output::serialize_time"
    )]
    saved_micros: u64,
    is_own: bool,
    deleted: bool,
}

/// Output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedScopes {
    own: String,
    scopes: Vec<PrintedScope>,
}

pub(crate) fn run_scopes(global: &Global, args: &ScopesArgs) -> anyhow::Result<u8> {
    let own = setup::own_scope(global)?;
    let (runtime, remote) = setup::connect_remote(global)?;
    let remote = &remote.remote;
    if args.delete {
        runtime
            .block_on(refuse_newer_format(remote))
            .map_err(cachefs::Error::from)?;
    }
    let listed = runtime
        .block_on(async { list_scopes(remote).await })
        .map_err(cachefs::Error::from)?;
    let now = SaveId::now().micros;
    let is_listed = |summary: &&ScopeSummary| {
        let age = Duration::from_micros(now.saturating_sub(summary.newest));
        summary.scope.as_str().starts_with(&args.prefix)
            && args.older_than.is_none_or(|limit| age > limit)
    };
    let listed: Vec<_> = listed.iter().filter(is_listed).collect();
    let deletes = args.delete && !args.dry_run;
    for summary in &listed {
        if deletes {
            delete_all(&runtime, remote, summary)?;
        }
        print_scope(global, args, summary, summary.scope == own);
    }
    if listed.is_empty() {
        output::log_text("no matching scopes");
    }
    if global.format == OutputFormat::Json {
        let entry = |summary: &&ScopeSummary| PrintedScope {
            scope: summary.scope.to_string(),
            keys: summary.keys,
            saved_micros: summary.newest,
            is_own: summary.scope == own,
            deleted: deletes,
        };
        output::print_json(&PrintedScopes {
            own: own.to_string(),
            scopes: listed.iter().map(entry).collect(),
        })?;
    }
    Ok(exit::SUCCESS)
}

fn print_scope(global: &Global, args: &ScopesArgs, summary: &ScopeSummary, is_own: bool) {
    let keys = output::format_count(summary.keys as u64, "key");
    let saved = output::format_age(summary.newest);
    if args.delete {
        let verb = if args.dry_run {
            "would delete"
        } else {
            "deleted"
        };
        output::log_text(&format!(
            "{verb} {}: {keys}, last saved {saved}",
            summary.scope
        ));
    } else if global.format == OutputFormat::Text {
        let own = if is_own { "  (own)" } else { "" };
        output::print_text(&format!(
            "{}  {keys}, last saved {saved}{own}",
            summary.scope
        ));
    }
}

fn delete_all(runtime: &Runtime, remote: &DynRemote, summary: &ScopeSummary) -> anyhow::Result<()> {
    runtime
        .block_on(async {
            for listed in list_keys(remote, &summary.scope, "").await? {
                delete_name(remote, &listed.name).await?;
            }
            Ok::<_, cachefs_store::Error>(())
        })
        .map_err(cachefs::Error::from)?;
    Ok(())
}
