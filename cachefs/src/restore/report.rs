//! The result of a restore.

use cachefs_store::Hint;
use std::path::PathBuf;
use std::time::Duration;

use cachefs_store::copy::CopyReport;
use cachefs_store::layer::TreeTotals;
use cachefs_store::refs::{LayerInfo, Resolved};
use cachefs_store::remote::RemoteTraffic;
use cachefs_store::restore::FoundStack;

use crate::error::Error;
use crate::unsaved_changes::UnsavedChanges;

/// How a restore ended.
#[derive(Debug)]
pub enum RestoreOutcome {
    /// No key matched; the path is as it was.
    Miss,
    /// The caller's policy leaves restores out; nothing was looked at.
    Skipped,
    /// A key matched, and that was all that was asked; the path is as it was.
    Found,
    /// The path shows the cache.
    Mounted,
    /// The same stack was mounted there already.
    AlreadyMounted,
    /// A mount that a crash or a reboot had left was put back, with the changes made to it.
    Remounted,
    /// The path holds a copy.
    Copied {
        /// The written files.
        report: CopyReport,
        /// Why it was not mounted, when that was left to us.
        instead_of_mount: Option<NoMount>,
    },
}

/// Why a cache was not mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoMount {
    /// The obstacle.
    pub why: String,
    /// Advice, if there is any.
    pub hint: Option<Hint>,
}

impl NoMount {
    pub(super) fn because(error: &Error) -> Self {
        Self {
            why: crate::error::describe_chain(error),
            hint: error.hint(),
        }
    }
}

/// Result of a restore.
#[derive(Debug)]
pub struct RestoreReport {
    /// How it ended.
    pub outcome: RestoreOutcome,
    /// The path, canonical.
    pub path: PathBuf,
    /// Each key's match.
    pub matched: Vec<Option<Resolved>>,
    /// The stack.
    pub layers: Vec<LayerInfo>,
    /// Totals of the tree, not of the layers, which hide parts of each other. `None` if no record
    /// contains them and counting would take long.
    pub tree: Option<TreeTotals>,
    /// Traffic so far.
    pub traffic: RemoteTraffic,
    /// Why keys that matched are not used, when the remote lost data of theirs: a miss.
    pub lost: Option<String>,
    /// Something the user should know, that did not stop the restore.
    pub notes: Vec<String>,
    /// Changes that an earlier restore of the path left and no save took up.
    pub unsaved: Option<UnsavedChanges>,
    /// How long it took.
    pub elapsed: Duration,
}

impl RestoreReport {
    /// A restore that did nothing: [`RestoreOutcome::Miss`] when no key has any of a cache's several paths,
    /// or [`RestoreOutcome::Skipped`].
    pub fn nothing(outcome: RestoreOutcome, path: PathBuf, keys: usize) -> Self {
        let found = FoundStack {
            matched: vec![None; keys],
            layers: Vec::new(),
            tree: None,
        };
        found_report(outcome, path, found, RemoteTraffic::default())
    }
}

/// Reports an outcome for the found stack.
pub(super) fn found_report(
    outcome: RestoreOutcome,
    path: PathBuf,
    found: FoundStack,
    traffic: RemoteTraffic,
) -> RestoreReport {
    RestoreReport {
        outcome,
        path,
        matched: found.matched,
        layers: found.layers,
        tree: found.tree,
        traffic,
        lost: None,
        notes: Vec::new(),
        unsaved: None,
        elapsed: Duration::ZERO,
    }
}

/// Reports that no key matched.
pub(super) fn miss_report(
    path: PathBuf,
    found: FoundStack,
    traffic: RemoteTraffic,
) -> RestoreReport {
    found_report(RestoreOutcome::Miss, path, found, traffic)
}

/// Reports a miss although keys matched, because the remote lost a part of them.
pub(super) fn lost_report(
    path: PathBuf,
    found: FoundStack,
    why: String,
    traffic: RemoteTraffic,
) -> RestoreReport {
    RestoreReport {
        lost: Some(why),
        ..miss_report(path, found.into_miss(), traffic)
    }
}
