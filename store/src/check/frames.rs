//! The frames that layers look for in packs, in little memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::finding::{FindingSaves, SaveNumbers};
use crate::frame::FrameLocation;
use crate::id::{PackId, TrailerHash};
use crate::pack::PackRef;

/// A frame's offset, and a short hash of its whole description.
pub(super) type FrameDigest = (u32, u64);

pub(super) fn digest_frame(frame: &FrameLocation) -> FrameDigest {
    let mut hasher = DefaultHasher::new();
    frame.hash(&mut hasher);
    (frame.offset, hasher.finish())
}

/// A pack's length, the offset of its trailer, and its trailer's hash where a layer has it.
pub(super) type Description = (u32, u32, Option<TrailerHash>);

/// Layers, by their position in [`NeededPacks::layers`].
pub(super) type LayerNumbers = BTreeSet<u32>;

/// A set of layers, by its position in [`LayerSets`].
pub(super) type SetNumber = u32;

/// Distinct sets of layers. Most frames are looked for by one of a few sets, so that each costs a
/// number instead of a set.
#[derive(Debug, Default)]
pub(super) struct LayerSets {
    sets: Vec<LayerNumbers>,
    /// The set that results when a layer is added to another one, or to none.
    next: HashMap<(Option<SetNumber>, u32), SetNumber>,
    numbers: HashMap<LayerNumbers, SetNumber>,
}

impl LayerSets {
    /// Returns the number of a set with one more layer.
    fn with(&mut self, set: Option<SetNumber>, layer: u32) -> SetNumber {
        if let Some(known) = self.next.get(&(set, layer)) {
            return *known;
        }
        let mut layers = set.map_or_else(LayerNumbers::new, |set| self.get(set).clone());
        layers.insert(layer);
        let sets = &mut self.sets;
        let number = *self.numbers.entry(layers.clone()).or_insert_with(|| {
            sets.push(layers);
            (sets.len() - 1) as u32
        });
        self.next.insert((set, layer), number);
        number
    }

    pub(super) fn get(&self, set: SetNumber) -> &LayerNumbers {
        &self.sets[set as usize]
    }
}

/// A pack that layers refer to.
///
/// Each description is kept with its layers. A layer may lie about a pack of another tenant, and
/// such a lie must not count against layers that describe the pack correctly.
#[derive(Debug, Default)]
pub(super) struct NeededPack {
    pub(super) descriptions: BTreeMap<Description, LayerNumbers>,
    /// The frames that layers look for, with the layers.
    pub(super) frames: BTreeMap<FrameDigest, SetNumber>,
}

/// All packs.
#[derive(Debug, Default)]
pub(super) struct NeededPacks {
    pub(super) saves: FindingSaves,
    /// The saves that need each layer.
    pub(super) layers: Vec<SaveNumbers>,
    pub(super) sets: LayerSets,
    pub(super) packs: BTreeMap<PackId, NeededPack>,
}

impl NeededPacks {
    /// Adds the packs and frames that a layer refers to.
    pub(super) fn add_layer(
        &mut self,
        saves: SaveNumbers,
        packs: &[PackRef],
        frames: &[(PackId, FrameDigest)],
    ) {
        let layer = self.layers.len() as u32;
        self.layers.push(saves);
        for pack in packs {
            let needed = self.packs.entry(pack.id).or_default();
            let description = (pack.length, pack.trailer, pack.hash);
            let layers = needed.descriptions.entry(description).or_default();
            layers.insert(layer);
        }
        for (pack, frame) in frames {
            if let Some(needed) = self.packs.get_mut(pack) {
                let known = needed.frames.get(frame).copied();
                let set = self.sets.with(known, layer);
                needed.frames.insert(*frame, set);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_of_layers_are_kept_once() {
        let mut sets = LayerSets::default();
        let one = sets.with(None, 1);
        let both = sets.with(Some(one), 2);
        let two = sets.with(None, 2);
        assert_eq!(sets.with(Some(two), 1), both);
        assert_eq!(sets.with(Some(both), 1), both);
        assert_eq!(sets.with(None, 1), one);
        assert_eq!((sets.get(both).len(), sets.sets.len()), (2, 3));
    }
}
