//! `cachefs delete`.

use std::collections::BTreeSet;

use cachefs_store::refs::{Key, delete_key, list_keys, list_parts};
use cachefs_store::repository::refuse_newer_format;
use clap::Args;
use serde::Serialize;

use crate::global::{Global, OutputFormat};
use crate::{exit, output, setup};

/// Options of `delete`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs delete npm-1 npm-2
  cachefs delete --all --scope pr/12 --dry-run")]
pub(crate) struct DeleteArgs {
    /// The keys
    #[arg(value_name = "KEY", required_unless_present = "all")]
    keys: Vec<String>,
    /// Delete all keys of the scope, for example of a closed pull request
    #[arg(long, conflicts_with = "keys")]
    all: bool,
    /// Only report what would be deleted
    #[arg(long)]
    dry_run: bool,
}

/// A key in the output of `--format json`.
#[derive(Debug, Serialize)]
struct DeletedKey {
    key: String,
    /// `deleted`, `would_delete` or `absent`.
    result: &'static str,
}

/// Output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedDelete {
    scope: String,
    dry_run: bool,
    keys: Vec<DeletedKey>,
}

pub(crate) fn run_delete(global: &Global, args: &DeleteArgs) -> anyhow::Result<u8> {
    let scope = setup::own_scope(global)?;
    let (runtime, remote) = setup::connect_remote(global)?;
    runtime
        .block_on(refuse_newer_format(&remote.remote))
        .map_err(cachefs::Error::from)?;
    let keys: BTreeSet<Key> = if args.all {
        runtime
            .block_on(async { list_keys(&remote.remote, &scope, "").await })
            .map_err(cachefs::Error::from)?
            .into_iter()
            .map(|listed| listed.name.key)
            .collect()
    } else {
        let names = args.keys.iter().map(|key| setup::ref_name(global, key));
        names
            .map(|name| name.map(|name| name.key))
            .collect::<anyhow::Result<_>>()?
    };
    if keys.is_empty() {
        output::log_text(&format!("no keys in scope {scope}: nothing to delete"));
    }
    let mut code = exit::SUCCESS;
    let mut entries = Vec::new();
    for key in keys {
        let is_there = runtime
            .block_on(async {
                if args.dry_run {
                    let parts = list_parts(&remote.remote, &scope, &key).await?;
                    Ok(!parts.is_empty())
                } else {
                    Ok(delete_key(&remote.remote, &scope, &key).await? > 0)
                }
            })
            .map_err(|error: cachefs_store::Error| cachefs::Error::from(error))?;
        let name = format!("{key} (scope {scope})");
        let result = match (is_there, args.dry_run) {
            (false, _) => {
                output::print_error("error", &format!("there is no key {name}"), None);
                code = exit::MISS;
                "absent"
            }
            (true, true) => {
                output::log_text(&format!("would delete {name}"));
                "would_delete"
            }
            (true, false) => {
                output::log_text(&format!(
                    "deleted {name}; existing mounts keep working, and `cachefs gc` will delete its data"
                ));
                "deleted"
            }
        };
        entries.push(DeletedKey {
            key: key.to_string(),
            result,
        });
    }
    if global.format == OutputFormat::Json {
        output::print_json(&PrintedDelete {
            scope: scope.to_string(),
            dry_run: args.dry_run,
            keys: entries,
        })?;
    }
    Ok(code)
}
