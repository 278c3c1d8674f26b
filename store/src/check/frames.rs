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

/// A pack that layers refer to.
#[derive(Debug)]
pub(super) struct NeededPack {
    /// What layers say of it; one thing, unless one of them is wrong.
    pub(super) descriptions: BTreeSet<Description>,
    pub(super) frames: BTreeSet<FrameDigest>,
    pub(super) keys: KeyNumbers,
}

/// All packs.
#[derive(Debug, Default)]
pub(super) struct NeededPacks {
    pub(super) keys: Keys,
    pub(super) packs: BTreeMap<PackId, NeededPack>,
}

impl NeededPacks {
    pub(super) fn add(&mut self, pack: &PackRef, keys: &KeyNumbers) {
        let needed = self.packs.entry(pack.id).or_insert_with(|| NeededPack {
            descriptions: BTreeSet::new(),
            frames: BTreeSet::new(),
            keys: KeyNumbers::new(),
        });
        let place = (pack.length, pack.trailer);
        let has_hash = |known: &&Description| (known.0, known.1) == place && known.2.is_some();
        if pack.hash.is_some() {
            needed.descriptions.remove(&(place.0, place.1, None));
            needed.descriptions.insert((place.0, place.1, pack.hash));
        } else if !needed.descriptions.iter().any(|known| has_hash(&known)) {
            // A layer of the old format agrees with one that says more.
            needed.descriptions.insert((place.0, place.1, None));
        }
        needed.keys.extend(keys);
    }

    pub(super) fn add_frame(&mut self, pack: &PackId, frame: FrameDigest) {
        if let Some(needed) = self.packs.get_mut(pack) {
            needed.frames.insert(frame);
        }
    }
}
