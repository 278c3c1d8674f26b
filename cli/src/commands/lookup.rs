//! `cachefs lookup`.

use cachefs_store::local::LayerCache;
use cachefs_store::refs::{Key, KeyQuery, MatchKind, find_key};
use cachefs_store::restore::without_lost_parts;
use clap::Args;
use serde::Serialize;

use crate::explain::of_miss;
use crate::global::{Global, OutputFormat};
use crate::{exit, output, setup};

/// Options of `lookup`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs lookup m2-4f6a --restore-key m2-")]
pub(crate) struct LookupArgs {
    /// The key
    #[arg(value_name = "KEY")]
    key: String,
    /// Fall back to the newest key with this prefix (repeatable, in order)
    #[arg(long, value_name = "PREFIX")]
    restore_key: Vec<String>,
    /// Also search this scope, after --scope (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = "CACHEFS_FALLBACK_SCOPE",
        value_delimiter = ','
    )]
    fallback_scope: Vec<String>,
}

/// The JSON output.
#[derive(Debug, Serialize)]
struct PrintedLookup {
    key: String,
    matched_key: Option<String>,
    matched_scope: Option<String>,
    #[serde(rename = "match")]
    matched: &'static str,
    /// Why nothing matched, if that is known.
    reason: Option<String>,
    /// The old name of `reason`, for one release.
    why: Option<String>,
    /// Of a key of several paths: these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<String>,
}

pub(crate) fn run_lookup(global: &Global, args: &LookupArgs) -> anyhow::Result<u8> {
    let workspace = setup::workspace_directory()?;
    let expanded = setup::expand_in(&workspace, &args.key, false, &[])?;
    let prefixes = args
        .restore_key
        .iter()
        .map(|prefix| setup::expand_in(&workspace, prefix, false, &[]).map(|expanded| expanded.key))
        .collect::<anyhow::Result<_>>()?;
    let store = setup::open_store(global)?;
    let (runtime, remote) = setup::connect_remote(global)?;
    let wanted = KeyQuery {
        scopes: setup::lookup_scopes(global)?
            .with(&args.fallback_scope)?
            .all(),
        key: Key::new(expanded.key).map_err(cachefs::Error::from)?,
        prefixes,
        chosen: None,
        role: None,
    };
    let layers = LayerCache::new(store.path());
    let (found, why) = runtime.block_on(async {
        let found = find_key(&remote.remote, &wanted, |_| true, |_| true).await;
        let Some(found) = found.map_err(cachefs::Error::from)? else {
            let why = of_miss(&remote.remote, &wanted, &expanded.parts).await;
            return Ok((None, why.map(|brief| brief.line)));
        };
        let found = without_lost_parts(&layers, &remote.remote, found).await;
        match found.map_err(cachefs::Error::from)? {
            Ok(found) => Ok((Some(found), None)),
            Err(lost) => Ok::<_, cachefs::Error>((None, Some(lost))),
        }
    })?;
    let matched = match found.as_ref().map(|found| &found.kind) {
        Some(MatchKind::Exact) => "exact",
        Some(MatchKind::Prefix(_)) => "prefix",
        None => "miss",
    };
    let matched_scope = found.as_ref().map(|found| found.scope.to_string());
    let matched_key = found.as_ref().map(|found| found.key.to_string());
    let parts = found.iter().flat_map(|found| &found.parts).flatten();
    let paths = parts.map(ToString::to_string).collect();
    match (&matched_key, global.format) {
        (_, OutputFormat::Json) => {
            output::print_json(&PrintedLookup {
                key: wanted.key.to_string(),
                reason: why.clone(),
                why,
                matched_key: matched_key.clone(),
                matched_scope,
                matched,
                paths,
            })?;
        }
        (Some(key), _) => output::print_text(key),
        (None, _) => {
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            output::log_text(&format!("no key matches {}{why}", wanted.key));
        }
    }
    Ok(if matched_key.is_some() {
        exit::SUCCESS
    } else {
        exit::MISS
    })
}
