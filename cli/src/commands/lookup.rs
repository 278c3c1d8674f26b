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
    /// Look in this scope too, after those of the build (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = "CACHEFS_FALLBACK_SCOPE",
        value_delimiter = ','
    )]
    fallback_scope: Vec<String>,
}

/// What is printed with `--format json`.
#[derive(Debug, Serialize)]
struct Printed {
    key: String,
    matched_key: Option<String>,
    matched_scope: Option<String>,
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
        scopes: setup::scopes(global)?.with(&args.fallback_scope)?.all(),
        key: name.key.clone(),
        prefixes,
        role: None,
    };
    let found = runtime
        .block_on(async { resolve(&remote.remote, &wanted).await })
        .map_err(cachefs::Error::from)?;
    let matched = match found.as_ref().map(|found| &found.kind) {
        Some(MatchKind::Exact) => "exact",
        Some(MatchKind::Prefix(_)) => "prefix",
        None => "miss",
    };
    let matched_scope = found.as_ref().map(|found| found.name.scope.to_string());
    let matched_key = found.map(|found| found.name.key.to_string());
    match (&matched_key, global.format) {
        (_, Format::Json) => {
            let key = name.key.to_string();
            output::print_json(&Printed {
                key,
                matched_key: matched_key.clone(),
                matched_scope,
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
