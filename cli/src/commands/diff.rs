//! `cachefs diff`.

use std::collections::BTreeSet;
use std::path::Path;

use cachefs::save::list_path_changes;
use cachefs_store::layer::mode;
use cachefs_store::local::LayerCache;
use cachefs_store::refs::{CachePart, ListedKey, RefName, read_records, unite_records};
use cachefs_store::remote::DynRemote;
use cachefs_store::save::PathChange;
use cachefs_store::stack::{Attr, EntryChange, EntryDifference, Stack, compare_stacks};
use clap::Args;
use serde::Serialize;

use super::key_scope::{find_holder, missing_key_error};
use crate::global::{Global, OutputFormat};
use crate::progress::Display;
use crate::{exit, output, setup};

/// Exit code for differences with `--exit-code`.
const DIFFERENT: u8 = 1;

/// Options of `diff`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs diff npm-1 npm-2 --stat
  cachefs diff node_modules")]
pub(crate) struct DiffArgs {
    /// The earlier key; or a restored directory, to show its unsaved changes
    #[arg(value_name = "KEY|PATH")]
    before: String,
    /// The later key
    #[arg(value_name = "KEY")]
    after: Option<String>,
    /// Scope of the earlier key [default: --scope]
    #[arg(long, value_name = "NAME")]
    before_scope: Option<String>,
    /// Print only the number of differences and their sizes
    #[arg(long, conflicts_with = "name_only")]
    stat: bool,
    /// Print only paths
    #[arg(long)]
    name_only: bool,
    /// Include entries that differ only in their modification time
    #[arg(long)]
    times: bool,
    /// Exit with code 1 if there are differences
    #[arg(long)]
    exit_code: bool,
}

/// A difference in the output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedDifference {
    path: String,
    change: &'static str,
    directory: bool,
    bytes_before: Option<u64>,
    bytes_after: Option<u64>,
}

/// Totals of the differences.
#[derive(Debug, Default, Serialize)]
struct DiffCounts {
    added: u64,
    removed: u64,
    modified: u64,
    attributes: u64,
    times: u64,
    bytes_added: u64,
    bytes_removed: u64,
}

/// Output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedDiff {
    before: String,
    after: String,
    #[serde(flatten)]
    counts: DiffCounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<PrintedDifference>>,
}

pub(crate) fn run_diff(global: &Global, args: &DiffArgs) -> anyhow::Result<u8> {
    let (before, after, found) = match &args.after {
        None => of_path(global, &setup::expand_home(Path::new(&args.before))?)?,
        Some(after) => {
            let found = diff_keys(global, args, after)?;
            (args.before.clone(), after.clone(), found)
        }
    };
    let mut counts = DiffCounts::default();
    for change in &found {
        count_change(change, &mut counts);
    }
    let shown: Vec<_> = found
        .iter()
        .filter(|change| args.times || change.change != EntryChange::Times)
        .collect();
    let is_different = !shown.is_empty();
    if global.format == OutputFormat::Json {
        let entries = (!args.stat).then(|| {
            shown
                .iter()
                .map(|change| printed_difference(change))
                .collect()
        });
        output::print_json(&PrintedDiff {
            before,
            after,
            counts,
            entries,
        })?;
    } else if args.stat {
        output::print_text(&total_line(&counts));
    } else {
        for change in shown {
            output::print_text(&change_line(change, args.name_only));
        }
        if !args.name_only {
            output::log_text(&total_line(&counts));
        }
    }
    Ok(match args.exit_code && is_different {
        true => DIFFERENT,
        false => exit::SUCCESS,
    })
}

/// The changes in a restored path since its restore.
fn of_path(global: &Global, path: &Path) -> anyhow::Result<(String, String, Vec<PathChange>)> {
    let store = setup::open_store(global)?;
    let remote = setup::remote_spec(global, &store)?;
    let display = Display::start("comparing")?;
    let changed = list_path_changes(
        &store,
        path,
        &remote,
        global.timeout,
        &display.handle().job(),
    )?;
    Ok((
        changed.name.to_string(),
        output::format_path(path),
        changed.paths,
    ))
}

/// The differences between two keys.
fn diff_keys(global: &Global, args: &DiffArgs, after: &str) -> anyhow::Result<Vec<PathChange>> {
    let mut after = setup::ref_name(global, after)?;
    let scopes = setup::lookup_scopes(global)?.all();
    let mut scopes_before = scopes.clone();
    let mut before = setup::ref_name(global, &args.before)?;
    if let Some(scope) = &args.before_scope {
        scopes_before = vec![setup::scope_named(scope)?];
    }
    let store = setup::open_store(global)?;
    let (runtime, remote) = setup::connect_remote(global)?;
    let layers = LayerCache::new(store.path());
    runtime.block_on(async {
        let remote = &remote.remote;
        let (old, new) = tokio::join!(
            find_holder(remote, &scopes_before, &before.key),
            find_holder(remote, &scopes, &after.key)
        );
        let old = old.map_err(cachefs::Error::from)?;
        let new = new.map_err(cachefs::Error::from)?;
        let Some((scope, old)) = old else {
            return Err(missing_key_error(remote, &scopes_before, &before.key).await);
        };
        before.scope = scope;
        let Some((scope, new)) = new else {
            return Err(missing_key_error(remote, &scopes, &after.key).await);
        };
        after.scope = scope;
        let mut found = Vec::new();
        let part_of = |listed: &ListedKey| listed.name.part.clone();
        let parts: BTreeSet<Option<CachePart>> = old.iter().chain(&new).map(part_of).collect();
        for part in parts {
            let name = |key: &RefName| RefName {
                part: part.clone(),
                ..key.clone()
            };
            let (old, new) = tokio::join!(
                key_stack(remote, &layers, name(&before)),
                key_stack(remote, &layers, name(&after))
            );
            let (old, new) = (
                old.map_err(cachefs::Error::from)?,
                new.map_err(cachefs::Error::from)?,
            );
            let of_part = compare_stacks(remote, &old, &new).await;
            let of_part = of_part.map_err(cachefs::Error::from)?;
            found.extend(of_part.into_iter().map(|it| path_change(it, part.as_ref())));
        }
        Ok(found)
    })
}

/// The content of a key, or of one of its parts; an empty stack if it does not exist.
async fn key_stack(
    remote: &DynRemote,
    layers: &LayerCache,
    name: RefName,
) -> cachefs_store::Result<Stack> {
    let (infos, _) = unite_records(read_records(remote, &name).await?);
    Stack::new(layers.open(remote, &infos).await?)
}

/// Makes a path change; `part` is the path prefix in a key of several paths.
fn path_change(difference: EntryDifference, part: Option<&CachePart>) -> PathChange {
    let size = |attr: Option<Attr>| {
        let file = attr.filter(|attr| attr.kind() == mode::FILE);
        file.map(|attr| attr.size)
    };
    let any = difference.after.or(difference.before);
    PathChange {
        path: match (part, &difference.path[..]) {
            (None, path) => path.to_vec(),
            (Some(part), []) => part.as_str().as_bytes().to_vec(),
            (Some(part), path) => [part.as_str().as_bytes(), b"/", path].concat(),
        },
        change: difference.change,
        directory: any.is_some_and(|attr| attr.kind() == mode::DIRECTORY),
        before: size(difference.before),
        after: size(difference.after),
    }
}

fn count_change(change: &PathChange, counts: &mut DiffCounts) {
    let (before, after) = (change.before.unwrap_or(0), change.after.unwrap_or(0));
    match change.change {
        EntryChange::Added => counts.added += 1,
        EntryChange::Removed => counts.removed += 1,
        EntryChange::Modified => counts.modified += 1,
        EntryChange::Attributes => counts.attributes += 1,
        EntryChange::Times => counts.times += 1,
    }
    counts.bytes_added += after.saturating_sub(before);
    counts.bytes_removed += before.saturating_sub(after);
}

fn total_line(counts: &DiffCounts) -> String {
    let mut text = format!(
        "{} added, {} removed, {} modified; {} more, {} less",
        counts.added,
        counts.removed,
        counts.modified,
        output::format_bytes(counts.bytes_added),
        output::format_bytes(counts.bytes_removed),
    );
    if counts.attributes > 0 {
        text.push_str(&format!(
            "; {} in permissions or owner only",
            counts.attributes
        ));
    }
    if counts.times > 0 {
        text.push_str(&format!("; {} in their time only", counts.times));
    }
    text
}

fn shown_path(change: &PathChange) -> String {
    let path = String::from_utf8_lossy(&change.path);
    let mut path = output::format_path(Path::new(&*path));
    if path.is_empty() {
        path.push('.');
    }
    if change.directory {
        path.push('/');
    }
    path
}

fn change_line(change: &PathChange, name_only: bool) -> String {
    let path = shown_path(change);
    if name_only {
        return path;
    }
    let letter = match change.change {
        EntryChange::Added => 'A',
        EntryChange::Removed => 'D',
        EntryChange::Modified => 'M',
        EntryChange::Attributes => 'P',
        EntryChange::Times => 'T',
    };
    match (change.before, change.after) {
        (Some(before), Some(after)) if before != after => format!(
            "{letter}  {path}  {} -> {}",
            output::format_bytes(before),
            output::format_bytes(after)
        ),
        (Some(size), _) | (None, Some(size)) => {
            format!("{letter}  {path}  {}", output::format_bytes(size))
        }
        (None, None) => format!("{letter}  {path}"),
    }
}

fn printed_difference(change: &PathChange) -> PrintedDifference {
    PrintedDifference {
        path: String::from_utf8_lossy(&change.path).into_owned(),
        change: match change.change {
            EntryChange::Added => "added",
            EntryChange::Removed => "removed",
            EntryChange::Modified => "modified",
            EntryChange::Attributes => "attributes",
            EntryChange::Times => "times",
        },
        directory: change.directory,
        bytes_before: change.before,
        bytes_after: change.after,
    }
}
