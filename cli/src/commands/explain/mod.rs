//! `cachefs explain`.

mod used;

use std::path::PathBuf;

use cachefs::{LastRestore, StoreDir};
use cachefs_store::refs::{Key, KeyQuery, Scope};
use cachefs_store::session::Session;
use clap::Args;
use serde::Serialize;

use crate::caches;
use crate::config::{LoadedConfig, Selection};
use crate::explain::{Explanation, Question, explain_restore, print_explanation};
use crate::global::{Global, OutputFormat};
use crate::keys::KeyPart;
use crate::{exit, output, setup};

/// Options of `explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs explain
  cachefs explain --key npm-3 --restore-key npm-
  cachefs explain node_modules --files")]
pub(crate) struct ExplainArgs {
    /// A restored directory: report which files of its cache were read
    #[arg(value_name = "PATH", conflicts_with = "key")]
    path: Option<PathBuf>,
    /// A key or template: report which key a restore would find, and similar keys [default: the
    /// keys of the last restore]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A cache of cachefs.toml: the same for its key (repeatable)
    #[arg(long, value_name = "NAME", conflicts_with_all = ["key", "path"])]
    cache: Vec<String>,
    /// Fall back to the newest key with this prefix (repeatable, in order)
    #[arg(long, value_name = "PREFIX", requires = "key")]
    restore_key: Vec<String>,
    /// Also search this scope, after --scope (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = "CACHEFS_FALLBACK_SCOPE",
        value_delimiter = ','
    )]
    fallback_scope: Vec<String>,
    /// With a directory: list each file and its use
    #[arg(long, requires = "path")]
    files: bool,
}

/// Output of `--format json` for several keys.
#[derive(Debug, Serialize)]
struct PrintedExplain {
    caches: Vec<Explained>,
}

/// A cache of the last restore.
#[derive(Debug, Serialize)]
struct Explained {
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<String>,
    path: String,
    /// Count of unsaved changes of an earlier restore, as found by the last one.
    unsaved_changes: u64,
    unsaved_moved_to: Option<String>,
    #[serde(flatten)]
    explanation: Explanation,
}

pub(crate) fn run_explain(
    global: &Global,
    args: &ExplainArgs,
    config: &LoadedConfig,
) -> anyhow::Result<u8> {
    let store = setup::open_store(global)?;
    match (&args.path, &args.key, &args.cache[..]) {
        (Some(path), ..) => {
            used::run_explain_path(global, &store, &setup::expand_home(path)?, args.files)
        }
        (None, Some(key), _) => of_key(global, &store, args, key),
        (None, None, []) => of_last(global, &store),
        (None, None, names) => of_caches(global, &store, args, config, names),
    }
}

/// The scopes that a restore searches.
fn explained_scopes(global: &Global, args: &ExplainArgs) -> anyhow::Result<Vec<Scope>> {
    Ok(setup::lookup_scopes(global)?
        .with(&args.fallback_scope)?
        .all())
}

fn of_key(
    global: &Global,
    store: &StoreDir,
    args: &ExplainArgs,
    template: &str,
) -> anyhow::Result<u8> {
    let workspace = setup::workspace_directory()?;
    let expanded = setup::expand_in(&workspace, template, false, &[])?;
    let prefixes = args.restore_key.iter().map(|prefix| {
        setup::expand_in(&workspace, prefix, false, &[]).map(|expanded| expanded.key)
    });
    let question = Question {
        wanted: KeyQuery {
            scopes: explained_scopes(global, args)?,
            key: Key::new(expanded.key).map_err(cachefs::Error::from)?,
            prefixes: prefixes.collect::<anyhow::Result<_>>()?,
            role: None,
            chosen: None,
        },
        parts: expanded.parts,
    };
    let url = setup::remote_spec(global, store)?.url;
    let explanation = answer_question(global, store, url, &question)?;
    if global.format == OutputFormat::Json {
        output::print_json(&explanation)?;
    } else {
        print_explanation(&explanation);
    }
    Ok(exit::SUCCESS)
}

fn of_last(global: &Global, store: &StoreDir) -> anyhow::Result<u8> {
    let Some(last) = LastRestore::read(store)? else {
        return Err(cachefs::Error::usage(
            "no restore with this store yet",
            "pass --key, or a restored directory",
        )
        .into());
    };
    let mut caches = Vec::new();
    for sought in last.caches {
        // Ignore key parts that another version wrote and this one cannot parse.
        let parts: Vec<KeyPart> = serde_json::from_value(sought.parts).unwrap_or_default();
        let question = Question {
            wanted: sought.wanted,
            parts,
        };
        caches.push(Explained {
            cache: sought.name,
            path: sought.path,
            unsaved_changes: sought.unsaved_changes,
            unsaved_moved_to: sought.unsaved_moved_to,
            explanation: answer_question(global, store, sought.remote, &question)?,
        });
    }
    show_explained(
        global,
        caches,
        &format!(", restored {}", output::format_age(last.micros)),
    )
}

fn of_caches(
    global: &Global,
    store: &StoreDir,
    args: &ExplainArgs,
    config: &LoadedConfig,
    names: &[String],
) -> anyhow::Result<u8> {
    let selection = Selection { names, layer: None };
    let url = setup::remote_spec(global, store)?.url;
    let scopes = explained_scopes(global, args)?;
    let mut explained = Vec::new();
    for cache in config.caches(&selection)? {
        let keys = cache.expand()?;
        let Some((wanted, parts)) = caches::key_query(&cache, &keys, &scopes) else {
            continue;
        };
        let question = Question { wanted, parts };
        let paths: Vec<_> = cache
            .paths
            .iter()
            .map(|path| output::format_path(path))
            .collect();
        explained.push(Explained {
            cache: cache.name,
            path: paths.join(", "),
            unsaved_changes: 0,
            unsaved_moved_to: None,
            explanation: answer_question(global, store, url.clone(), &question)?,
        });
    }
    show_explained(global, explained, "")
}

fn show_explained(global: &Global, caches: Vec<Explained>, when: &str) -> anyhow::Result<u8> {
    if global.format == OutputFormat::Json {
        output::print_json(&PrintedExplain { caches })?;
        return Ok(exit::SUCCESS);
    }
    for explained in &caches {
        let name = explained.cache.as_deref().unwrap_or("cache");
        output::print_text(&format!("{name} for {}{when}:", explained.path));
        if explained.unsaved_changes > 0 {
            let changes = output::format_count(explained.unsaved_changes, "unsaved change");
            let place = match &explained.unsaved_moved_to {
                Some(place) => format!("moved to {place}"),
                None => "still there".to_owned(),
            };
            output::print_text(&format!(
                "found         {changes} of an earlier restore, {place}"
            ));
        }
        print_explanation(&explained.explanation);
    }
    Ok(exit::SUCCESS)
}

/// Queries the remote at `url` with the options and credentials of this command.
fn answer_question(
    global: &Global,
    store: &StoreDir,
    url: String,
    question: &Question,
) -> anyhow::Result<Explanation> {
    let mut spec = setup::remote_spec(global, store)?;
    spec.url = url;
    let session = Session::open(store.local(), &spec, global.timeout);
    let session = session.map_err(cachefs::Error::from)?;
    Ok(session.block_on(explain_restore(
        session.layers(),
        session.remote(),
        question,
    ))?)
}
