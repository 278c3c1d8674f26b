//! `cachefs list`.

use cachefs_store::refs::list_keys;
use clap::Args;
use serde::Serialize;

use crate::args::{Format, Global};
use crate::{exit, output, setup};

/// Options of `list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only keys that start with this
    #[arg(value_name = "PREFIX", default_value = "")]
    prefix: String,
}

/// A key in the output of `--format json`.
#[derive(Debug, Serialize)]
struct Entry {
    key: String,
    scope: String,
    saved_micros: u64,
    saves: usize,
}

/// What is printed with `--format json`.
#[derive(Debug, Serialize)]
struct Printed {
    keys: Vec<Entry>,
}

pub(crate) fn run(global: &Global, args: &ListArgs) -> anyhow::Result<u8> {
    let scope = setup::scope(global)?;
    let (runtime, remote) = setup::remote(global)?;
    let listed = runtime
        .block_on(async { list_keys(&remote.remote, &scope, &args.prefix).await })
        .map_err(cachefs::Error::from)?;
    let keys: Vec<_> = listed
        .iter()
        .map(|listed| Entry {
            key: listed.name.key.to_string(),
            scope: listed.name.scope.to_string(),
            saved_micros: listed.saves.last().map_or(0, |save| save.micros),
            saves: listed.saves.len(),
        })
        .collect();
    if global.format == Format::Json {
        output::print_json(&Printed { keys })?;
        return Ok(exit::SUCCESS);
    }
    if keys.is_empty() {
        output::say(&format!("no keys in scope {scope}"));
    }
    for key in keys {
        output::print(&format!("{}  {}", key.key, output::age(key.saved_micros)));
    }
    Ok(exit::SUCCESS)
}
