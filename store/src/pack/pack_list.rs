//! Descriptions of packs, combined from several layers.

use std::collections::HashMap;

use super::PackRef;
use crate::id::PackId;

/// Packs by name, each as all its descriptions agree on.
///
/// A description without the hash of the trailer agrees with one that has it. Descriptions that
/// contradict each other leave a pack without a hash, so that nothing is learnt from it: one of the
/// layers lies, and nothing says which. Its frames can be read all the same, as they have hashes of
/// their own.
#[derive(Debug, Clone, Default)]
pub struct PackSet(HashMap<PackId, DescribedPack>);

#[derive(Debug, Clone)]
struct DescribedPack {
    pack: PackRef,
    is_contradicted: bool,
}

impl PackSet {
    /// The description of a pack.
    pub fn get(&self, id: &PackId) -> Option<&PackRef> {
        self.0.get(id).map(|described| &described.pack)
    }

    /// All descriptions, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = PackRef> {
        self.0.values().map(|described| described.pack)
    }
}

impl DescribedPack {
    fn add(&mut self, other: &PackRef) {
        let known = &mut self.pack;
        let is_same_place = known.length == other.length && known.trailer == other.trailer;
        match (known.hash, other.hash) {
            _ if self.is_contradicted => {}
            (Some(known), Some(other)) if is_same_place && known == other => {}
            (_, None) if is_same_place => {}
            (None, hash) if is_same_place => known.hash = hash,
            _ => {
                known.hash = None;
                self.is_contradicted = true;
            }
        }
    }
}

impl Extend<PackRef> for PackSet {
    fn extend<T: IntoIterator<Item = PackRef>>(&mut self, packs: T) {
        for pack in packs {
            self.0
                .entry(pack.id)
                .and_modify(|known| known.add(&pack))
                .or_insert(DescribedPack {
                    pack,
                    is_contradicted: false,
                });
        }
    }
}

impl FromIterator<PackRef> for PackSet {
    fn from_iter<T: IntoIterator<Item = PackRef>>(packs: T) -> Self {
        let mut set = Self::default();
        set.extend(packs);
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TrailerHash;

    fn pack(length: u32, hash: Option<u8>) -> PackRef {
        PackRef {
            id: PackId([1; 16]),
            length,
            trailer: 100,
            hash: hash.map(|byte| TrailerHash([byte; 32])),
        }
    }

    fn hash_of(packs: &[PackRef]) -> Option<u8> {
        let set: PackSet = packs.iter().copied().collect();
        set.get(&PackId([1; 16]))
            .unwrap()
            .hash
            .map(|hash| hash.0[0])
    }

    #[test]
    fn a_hash_joins_an_old_description() {
        let (old, new) = (pack(200, None), pack(200, Some(7)));
        assert_eq!(hash_of(&[old]), None);
        assert_eq!(hash_of(&[old, new]), Some(7));
        assert_eq!(hash_of(&[new, old, new]), Some(7));
    }

    #[test]
    fn descriptions_that_contradict_each_other_leave_no_hash() {
        let (one, other, longer) = (pack(200, Some(7)), pack(200, Some(8)), pack(300, Some(7)));
        for packs in [
            vec![one, other],
            vec![one, longer],
            vec![one, pack(300, None)],
            // A third one does not settle it.
            vec![one, other, one],
            vec![one, other, pack(200, None), other],
        ] {
            assert_eq!(hash_of(&packs), None, "{packs:?}");
        }
    }
}
