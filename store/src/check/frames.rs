//! The frames that layers look for in packs, in little memory.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::finding::{KeyNumbers, Keys};
use crate::frame::FrameLocation;
use crate::id::{PackId, TrailerHash};
use crate::pack::PackRef;

/// A frame's offset, and a short hash of all that is said of it.
pub(super) type FrameDigest = (u32, u64);

pub(super) fn digest(frame: &FrameLocation) -> FrameDigest {
    let mut hasher = DefaultHasher::new();
    frame.hash(&mut hasher);
    (frame.offset, hasher.finish())
}

/// A pack's length, the offset of its trailer, and its trailer's hash where a layer has it.
pub(super) type Description = (u32, u32, Option<TrailerHash>);

/// A pack that layers refer to. A layer that is wrong about a pack says nothing about the keys of
/// other layers, so everything is kept with the layers that say it.
#[derive(Debug, Default)]
pub(super) struct NeededPack {
    /// What layers say of it, and the keys of those that say so; one thing, unless one of them is
    /// wrong or of the old format.
    pub(super) descriptions: BTreeMap<Description, KeyNumbers>,
    /// The frames that are looked for, and the number of the layer that does.
    frames: BTreeSet<(FrameDigest, u32)>,
}

/// All packs.
#[derive(Debug, Default)]
pub(super) struct NeededPacks {
    pub(super) keys: Keys,
    pub(super) packs: BTreeMap<PackId, NeededPack>,
    /// The keys that need each layer.
    pub(super) layers: Vec<KeyNumbers>,
}

impl NeededPacks {
    /// Adds what a layer refers to, for the keys that need the layer.
    pub(super) fn add_layer(
        &mut self,
        packs: &[PackRef],
        frames: Vec<(PackId, FrameDigest)>,
        keys: KeyNumbers,
    ) {
        for pack in packs {
            let needed = self.packs.entry(pack.id).or_default();
            let description = (pack.length, pack.trailer, pack.hash);
            let named = needed.descriptions.entry(description).or_default();
            named.extend(&keys);
        }
        let layer = self.layers.len() as u32;
        self.layers.push(keys);
        for (pack, frame) in frames {
            if let Some(needed) = self.packs.get_mut(&pack) {
                needed.frames.insert((frame, layer));
            }
        }
    }
}

impl NeededPack {
    /// The keys that need the pack.
    pub(super) fn keys(&self) -> KeyNumbers {
        self.descriptions.values().flatten().copied().collect()
    }

    /// The number of frames that layers look for and that are not among `held`, and the numbers of
    /// these layers.
    pub(super) fn lacking(&self, held: &BTreeSet<FrameDigest>) -> (usize, BTreeSet<u32>) {
        let lacking = self
            .frames
            .iter()
            .filter(|(frame, _)| !held.contains(frame));
        let frames: BTreeSet<_> = lacking.clone().map(|(frame, _)| frame).collect();
        (frames.len(), lacking.map(|(_, layer)| *layer).collect())
    }
}
