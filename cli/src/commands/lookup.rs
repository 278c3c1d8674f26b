//! `cachefs lookup`.

use cachefs_store::refs::{MatchKind, Wanted, resolve};
use clap::Args;
use serde::Serialize;

use crate::args::{Format, Global};
use crate::{exit, output, setup};

/// Options of `lookup`.
#[derive(Debug, Args)]
pub(crate) struct LookupArgs {
    /// The key
    #[arg(value_name = "KEY")]
    key: String,
    /// Prefix of keys that will do, the newest first (repeatable)
    #[arg(long, value_name = "PREFIX")]
    restore_key: Vec<String>,
}

/// What is printed with `--format json`.
#[derive(Debug, Serialize)]
struct Printed {
    key: String,
    matched_key: Option<String>,
    #[serde(rename = "match")]
    matched: &'static str,
}

pub(crate) fn run(global: &Global, args: &LookupArgs) -> anyhow::Result<u8> {
    let name = setup::name(global, &args.key)?;
    let workspace = setup::workspace()?;
    let prefixes = args
        .restore_key
        .iter()
        .map(|prefix| setup::expand_in(&workspace, prefix, false, &[]).map(|expanded| expanded.key))
        .collect::<anyhow::Result<_>>()?;
    let (runtime, remote) = setup::remote(global)?;
    let wanted = Wanted {
        scopes: vec![name.scope],
        key: name.key.clone(),
        prefixes,
    };
    let found = runtime
        .block_on(async { resolve(&remote.remote, &wanted).await })
        .map_err(cachefs::Error::from)?;
    let matched = match found.as_ref().map(|found| &found.kind) {
        Some(MatchKind::Exact) => "exact",
        Some(MatchKind::Prefix(_)) => "prefix",
        None => "miss",
    };
    let matched_key = found.map(|found| found.name.key.to_string());
    match (&matched_key, global.format) {
        (_, Format::Json) => {
            let key = name.key.to_string();
            output::print_json(&Printed {
                key,
                matched_key: matched_key.clone(),
                matched,
            })?;
        }
        (Some(key), Format::Text) => output::print(key),
        (None, Format::Text) => output::say(&format!("no key matches {}", name.key)),
    }
    Ok(if matched_key.is_some() {
        exit::SUCCESS
    } else {
        exit::MISS
    })
}
