//! Result of a save.

use std::time::Duration;

use super::reading::Skipped;
use crate::id::{SaveId, StackId};
use crate::layer::TreeTotals;
use crate::refs::LayerInfo;
use crate::remote::RemoteTraffic;
use crate::secrets::SecretFinding;

/// How a save ended.
#[derive(Debug)]
pub enum SaveOutcome {
    /// The key holds this very content already; nothing was written.
    Unchanged,
    /// The caller's policy leaves saves out; the path was not read.
    Skipped,
    /// The key exists, and was to be kept; the path was not read.
    Kept,
    /// The path holds no file; nothing was written.
    Empty,
    /// The content was there already, under this or another key; only a ref was written.
    Linked,
    /// A layer was written.
    Saved(Box<LayerInfo>),
    /// A layer would have been written.
    WouldSave,
    /// Secrets were found, and were to fail the save; nothing was written.
    Refused,
}

/// Result of a save.
#[derive(Debug)]
pub struct SaveReport {
    /// How it ended.
    pub outcome: SaveOutcome,
    /// The save whose record was written; `None` if none was.
    pub save: Option<SaveId>,
    /// The stack that the path was compared with.
    pub base: StackId,
    /// Time at which the save began to read the path, in microseconds since 1970. Later changes may
    /// be missing.
    pub began: u64,
    /// The stack that the key names now.
    pub layers: Vec<LayerInfo>,
    /// TreeTotals of the tree that the key names now, where they are known.
    pub tree: Option<TreeTotals>,
    /// When the key expires, in microseconds since 1970.
    pub expires: Option<u64>,
    /// Files scanned and their bytes.
    pub scanned: (u64, u64),
    /// Entries added, modified, removed.
    pub changes: (u64, u64, u64),
    /// Raw bytes that no pack had yet.
    pub new_raw: u64,
    /// Entries that were left out.
    pub skipped: Vec<Skipped>,
    /// The secrets that were found, in path order.
    pub findings: Vec<SecretFinding>,
    /// How many layers were squashed into one.
    pub squashed: Option<usize>,
    /// Number of saves by other jobs that this one took in.
    pub united: usize,
    /// Messages to the user about something that did not stop the save.
    pub notes: Vec<String>,
    /// A warning about a probable mistake: the save removes most of the entries of the stack.
    pub warning: Option<String>,
    /// The traffic of the save.
    pub traffic: RemoteTraffic,
    /// The time that the save took.
    pub elapsed: Duration,
}

impl SaveReport {
    /// A save that wrote nothing: [`SaveOutcome::Kept`] or [`SaveOutcome::Skipped`]; `layers` are
    /// those that the key names.
    pub fn nothing(outcome: SaveOutcome, layers: Vec<LayerInfo>) -> Self {
        Self {
            outcome,
            save: None,
            base: StackId::of([].iter()),
            began: 0,
            layers,
            tree: None,
            expires: None,
            scanned: (0, 0),
            changes: (0, 0, 0),
            new_raw: 0,
            skipped: Vec::new(),
            findings: Vec::new(),
            squashed: None,
            united: 0,
            notes: Vec::new(),
            warning: None,
            traffic: RemoteTraffic::default(),
            elapsed: Duration::ZERO,
        }
    }
}
