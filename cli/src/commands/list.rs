//! `cachefs list`.

use cachefs_store::refs::{Listed, list_keys};
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
    /// Of a key of several paths: these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<String>,
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
    let keys = entries(&listed);
    if global.format == Format::Json {
        output::print_json(&Printed { keys })?;
        return Ok(exit::SUCCESS);
    }
    if keys.is_empty() {
        output::say(&format!("no keys in scope {scope}"));
    }
    for key in keys {
        let paths = match key.paths.len() {
            0 => String::new(),
            paths => format!("  ({})", output::count(paths as u64, "path")),
        };
        let age = output::age(key.saved_micros);
        output::print(&format!("{}  {age}{paths}", key.key));
    }
    Ok(exit::SUCCESS)
}

/// An entry for each key, with all its parts, the newest first.
fn entries(listed: &[Listed]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for listed in listed {
        let name = &listed.name;
        let known = entries.iter().position(|entry| {
            (&*entry.key, &*entry.scope) == (name.key.as_str(), name.scope.as_str())
        });
        let entry = match known {
            Some(known) => &mut entries[known],
            None => {
                entries.push(Entry {
                    key: name.key.to_string(),
                    scope: name.scope.to_string(),
                    saved_micros: listed.saves.last().map_or(0, |save| save.micros),
                    saves: 0,
                    paths: Vec::new(),
                });
                let last = entries.len() - 1;
                &mut entries[last]
            }
        };
        entry.saves += listed.saves.len();
        entry
            .paths
            .extend(name.part.as_ref().map(ToString::to_string));
        entry.paths.sort();
    }
    entries
}
