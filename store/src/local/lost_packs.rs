//! Packs that were missing or damaged in the remote when they were last read.
//!
//! A reader that gets "no such pack" notes the pack in `lost/` of the store directory, and one that
//! gets bytes with another hash notes it in `damaged/`: one file per pack. The next restore of a
//! key that needs the pack is then a miss instead of a mount whose reads fail, and the next save
//! stores the data again instead of referring to the pack.
//!
//! A note is only a suspicion, because a layer of another tenant can describe a pack wrongly.
//! Before anything depends on a note, a lost pack is requested from the remote, and a damaged one
//! is read and compared with the trailer in the client's own layers or index. A pack that passes
//! stays noted with the hash of that trailer, so that it is not read again.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::id::PackId;
use crate::pack::PackRef;

/// Largest number of lost packs on record. More entries add no information about a remote that was
/// emptied.
const MOST: usize = 10_000;

/// The notes of one store directory.
#[derive(Debug, Clone)]
pub struct LostPacks {
    lost: PathBuf,
    damaged: PathBuf,
}

impl LostPacks {
    /// Uses `root/lost` and `root/damaged`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self {
            lost: root.join("lost"),
            damaged: root.join("damaged"),
        }
    }

    /// All packs that are noted as lost.
    pub fn read(&self) -> HashSet<PackId> {
        let entries = fs::read_dir(&self.lost).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names
            .take(MOST)
            .filter_map(|name| name.parse().ok())
            .collect()
    }

    /// Notes a pack as lost.
    pub(super) fn add(&self, pack: &PackId) {
        add(&self.lost, pack);
    }

    /// Removes the note of a pack that is there after all.
    pub(crate) fn remove(&self, pack: &PackId) {
        let _ = fs::remove_file(self.lost.join(pack.to_string()));
    }

    /// Notes a pack as damaged.
    pub fn add_damaged(&self, pack: &PackId) {
        add(&self.damaged, pack);
    }

    /// Whether any pack is noted as damaged.
    pub(crate) fn has_damaged(&self) -> bool {
        fs::read_dir(&self.damaged).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Whether a pack is noted as damaged and was not found intact with its trailer since.
    pub(crate) fn may_be_damaged(&self, pack: &PackRef) -> bool {
        let intact = fs::read(self.damaged.join(pack.id.to_string()));
        intact.is_ok_and(|intact| pack.hash.is_none_or(|hash| intact != hash.0))
    }

    /// Notes that a suspected pack matches its trailer.
    pub(crate) fn note_intact(&self, pack: &PackRef) {
        if let Some(hash) = &pack.hash {
            // Without it the pack is read again next time.
            let _ = fs::write(self.damaged.join(pack.id.to_string()), hash.0);
        }
    }
}

/// Notes a pack; if that fails, the pack is only found out once more.
fn add(directory: &Path, pack: &PackId) {
    let added = fs::create_dir_all(directory).and_then(|()| {
        let count = fs::read_dir(directory)?.take(MOST).count();
        match count {
            MOST.. => Ok(()),
            _ => fs::write(directory.join(pack.to_string()), ""),
        }
    });
    if let Err(error) = added {
        let directory = directory.display();
        tracing::warn!("cannot record pack {pack} in {directory}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TrailerHash;

    #[test]
    fn notes_are_read_back_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let lost = LostPacks::new(dir.path());
        assert!(lost.read().is_empty());
        let (one, other) = (PackId::random(), PackId::random());
        lost.add(&one);
        lost.add(&other);
        fs::write(dir.path().join("lost/foreign"), "").unwrap();
        assert_eq!(lost.read(), HashSet::from([one, other]));
        lost.remove(&one);
        assert_eq!(lost.read(), HashSet::from([other]));
    }

    #[test]
    fn a_pack_that_was_found_intact_is_suspect_again_with_another_trailer_or_new_damage() {
        let dir = tempfile::tempdir().unwrap();
        let notes = LostPacks::new(dir.path());
        let pack = |hash| PackRef {
            id: PackId([7; 16]),
            length: 100,
            trailer: 50,
            hash,
        };
        let (own, other) = (
            pack(Some(TrailerHash([1; 32]))),
            pack(Some(TrailerHash([2; 32]))),
        );
        assert!(!notes.has_damaged() && !notes.may_be_damaged(&own));
        notes.add_damaged(&own.id);
        assert!(notes.has_damaged() && notes.may_be_damaged(&own));
        assert!(notes.read().is_empty());
        notes.note_intact(&own);
        assert!(!notes.may_be_damaged(&own));
        assert!(notes.may_be_damaged(&other) && notes.may_be_damaged(&pack(None)));
        notes.add_damaged(&own.id);
        assert!(notes.may_be_damaged(&own));
    }
}
