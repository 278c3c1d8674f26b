//! `cachefs umount`.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use cachefs::mounts::{How, MountRecords, unmount_path};
use cachefs::sys::mountinfo::MountTable;
use clap::Args;
use serde::Serialize;

use crate::global::{Global, OutputFormat};
use crate::{exit, output, setup};

/// Options of `umount`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs umount node_modules
  cachefs umount --all")]
pub(crate) struct UmountArgs {
    /// The restored directory
    #[arg(value_name = "DIR", required_unless_present = "all")]
    path: Option<PathBuf>,
    /// Unmount every directory that was restored from this store
    #[arg(long, conflicts_with = "path")]
    all: bool,
    /// Unmount even while processes use it; they keep their open files
    #[arg(long)]
    lazy: bool,
}

/// A path in the output of `--format json`.
#[derive(Debug, Serialize)]
struct UnmountedPath {
    path: String,
    key: String,
    scope: String,
    /// `unmounted`; or `forgotten` for a copy, which stays as a plain directory.
    result: &'static str,
    /// Whether unsaved changes were discarded.
    lost_changes: bool,
}

/// Output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedUmount {
    paths: Vec<UnmountedPath>,
}

pub(crate) fn run_umount(global: &Global, args: &UmountArgs) -> anyhow::Result<u8> {
    let store = setup::open_store(global)?;
    let mut paths = match &args.path {
        Some(path) => vec![setup::expand_home(path)?],
        None => MountRecords::new(&store)
            .all()?
            .into_iter()
            .map(|record| record.path)
            .collect(),
    };
    let mut entries = Vec::new();
    while let Some(path) = take_next(&mut paths)? {
        let done = unmount_path(&store, &path, args.lazy)?;
        let path = output::format_path(&done.record.path);
        match done.record.how {
            How::Mount => output::log_text(&format!("unmounted {path}")),
            How::Copy => output::log_text(&format!(
                "{path} stays: it is a plain directory, no longer tracked"
            )),
        }
        if done.dropped_changes {
            output::log_text("note: discarded its unsaved changes");
        }
        entries.push(UnmountedPath {
            path,
            key: done.record.name.key.to_string(),
            scope: done.record.name.scope.to_string(),
            result: match done.record.how {
                How::Mount => "unmounted",
                How::Copy => "forgotten",
            },
            lost_changes: done.dropped_changes,
        });
    }
    if global.format == OutputFormat::Json {
        output::print_json(&PrintedUmount { paths: entries })?;
    }
    Ok(exit::SUCCESS)
}

/// Removes and returns the next path to unmount: a mount comes before the mounts that it hides or
/// is nested in.
fn take_next(paths: &mut Vec<PathBuf>) -> cachefs::Result<Option<PathBuf>> {
    let table = MountTable::read().map_err(cachefs::Error::io("read", "/proc/self/mountinfo"))?;
    let is_hidden = |path: &Path| table.hiding(path).is_some();
    let next = (0..paths.len()).min_by_key(|&number| {
        let path = &paths[number];
        (is_hidden(path), Reverse(path.components().count()))
    });
    Ok(next.map(|number| paths.remove(number)))
}
