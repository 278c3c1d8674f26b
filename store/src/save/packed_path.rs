//! State of a save between storing its chunks and storing its layers.

use super::delta::Delta;
use super::pipeline::Packed;
use super::reading::Skipped;
use super::shrinkage::Shrinkage;
use super::source::PreviousSave;
use crate::layer::BuiltLayer;
use crate::pack::PackRef;
use crate::refs::LayerInfo;
use crate::secrets::SecretFinding;

/// A path whose new chunks are stored.
pub struct PackedPath {
    pub(super) delta: PathDelta,
    /// The stack that the path was compared with.
    pub(super) base: Vec<LayerInfo>,
    /// When the path was restored, in microseconds since 1970, if it was.
    pub(super) restored_at: Option<u64>,
    /// The last save of the same path under the same key.
    pub(super) previous: Option<PreviousSave>,
    /// When the save began to read the path, in microseconds since 1970.
    pub(super) began: u64,
}

impl PackedPath {
    /// The layer that makes the change; `None` when nothing changed.
    pub fn layer(&self) -> Option<&BuiltLayer> {
        self.delta.layer.as_ref()
    }

    /// The stack that the path was compared with.
    pub fn base(&self) -> &[LayerInfo] {
        &self.base
    }

    /// Entries added, modified, removed. A removed directory counts as one.
    pub fn changes(&self) -> (u64, u64, u64) {
        let delta = &self.delta.delta;
        (delta.added, delta.modified, delta.removed)
    }

    /// Directories that differ in their time of modification only.
    pub fn touched(&self) -> u64 {
        self.delta.delta.touched
    }

    /// The packs that were stored.
    pub fn new_packs(&self) -> &[PackRef] {
        &self.delta.packed.new_packs
    }

    /// Raw bytes that no pack had yet.
    pub fn new_raw(&self) -> u64 {
        self.delta.packed.new_raw
    }

    /// The entries that were left out.
    pub fn skipped(&self) -> &[Skipped] {
        &self.delta.skipped
    }
}

/// The changes of a path whose new chunks are stored.
#[derive(Default)]
pub(super) struct PathDelta {
    /// The number of removed entries, if most of the stack's entries were removed.
    pub(super) shrinkage: Option<Shrinkage>,
    pub(super) delta: Delta,
    /// The layer that makes the change; `None` when nothing changed.
    pub(super) layer: Option<BuiltLayer>,
    pub(super) packed: Packed,
    pub(super) skipped: Vec<Skipped>,
    pub(super) findings: Vec<SecretFinding>,
    /// Whether the secrets that were found fail the save.
    pub(super) refused: bool,
    /// Whether the path holds no file, and that is not allowed.
    pub(super) empty: bool,
    /// Files scanned and their bytes.
    pub(super) scanned: (u64, u64),
}
