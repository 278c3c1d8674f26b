//! Packs that the remote did not have when they were last read.
//!
//! A reader that is told "no such pack" notes the pack here, so that the next restore of a key that
//! needs it is a miss instead of a mount whose reads fail. An empty file for each pack, named by it,
//! in `lost/` of the store directory. A note is only a suspicion: whoever finds one asks the remote
//! again, and removes it if the pack is back.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use crate::id::PackId;

/// The most packs that are noted; more of them say nothing new about a remote that was emptied.
const MOST: usize = 10_000;

/// The notes of one store directory.
#[derive(Debug, Clone)]
pub struct LostPacks(PathBuf);

impl LostPacks {
    /// Uses `root/lost`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into().join("lost"))
    }

    /// All packs that are noted.
    pub fn read(&self) -> HashSet<PackId> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names
            .take(MOST)
            .filter_map(|name| name.parse().ok())
            .collect()
    }

    /// Notes a pack; failing to is only a missed chance.
    pub(super) fn add(&self, pack: &PackId) {
        let added = fs::create_dir_all(&self.0).and_then(|()| {
            let count = fs::read_dir(&self.0)?.take(MOST).count();
            match count {
                MOST.. => Ok(()),
                _ => fs::write(self.0.join(pack.to_string()), ""),
            }
        });
        if let Err(error) = added {
            tracing::warn!("cannot note in the store that pack {pack} is lost: {error}");
        }
    }

    /// Removes the note of a pack that is there after all.
    pub(crate) fn remove(&self, pack: &PackId) {
        let _ = fs::remove_file(self.0.join(pack.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
