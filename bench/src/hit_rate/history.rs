//! Histories: jobs in time order, each with the directory state that it needs.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

/// The branch whose caches are visible to all other branches.
pub(super) const MAIN: &str = "main";

/// A part of a directory; pieces with equal ids have equal content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HistoryPiece {
    /// Identifies the content.
    pub(super) id: u64,
    /// Uncompressed size in bytes.
    pub(super) raw: u64,
    /// Compressed size in bytes.
    pub(super) stored: u64,
    /// Number of occurrences in the directory.
    pub(super) times: u64,
}

/// The state of a cached directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HistoryState {
    /// Hash of the lock file, or of the whole content.
    pub(super) key: u64,
    /// Pieces sorted by id, without duplicates.
    pub(super) pieces: Vec<HistoryPiece>,
    /// Pairs of content id and number of files, sorted by id without duplicates. One pair covers a
    /// file, or a group of files that change together.
    pub(super) files: Vec<(u64, u64)>,
}

/// One job.
#[derive(Debug, Clone)]
pub(super) struct HistoryJob {
    /// Start time in seconds.
    pub(super) time: f64,
    /// The branch that the job runs on.
    pub(super) branch: Rc<str>,
    /// The directory state that the job needs.
    pub(super) state: Rc<HistoryState>,
}

/// Jobs in time order.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The jobs.
    pub(super) jobs: Vec<HistoryJob>,
    /// Source and assumptions of the history, as name and text for the report.
    pub(super) facts: Vec<(&'static str, String)>,
    /// Whether the times come from real jobs rather than from a fixed gap.
    pub(super) real_times: bool,
}

impl HistoryState {
    /// Creates a state; sums the counts of equal ids.
    pub(super) fn new(
        key: u64,
        pieces: impl IntoIterator<Item = HistoryPiece>,
        files: impl IntoIterator<Item = (u64, u64)>,
    ) -> Self {
        let mut by_id: HashMap<u64, HistoryPiece> = HashMap::new();
        for piece in pieces {
            by_id
                .entry(piece.id)
                .and_modify(|known| known.times += piece.times)
                .or_insert(piece);
        }
        let mut pieces: Vec<_> = by_id.into_values().collect();
        pieces.sort_by_key(|piece| piece.id);
        let mut groups: HashMap<u64, u64> = HashMap::new();
        for (id, count) in files {
            *groups.entry(id).or_default() += count;
        }
        let mut files: Vec<_> = groups.into_iter().collect();
        files.sort_unstable();
        Self { key, pieces, files }
    }

    /// Total uncompressed bytes.
    pub(super) fn raw(&self) -> u64 {
        self.pieces
            .iter()
            .map(|piece| piece.raw * piece.times)
            .sum()
    }

    /// Size of an archive in bytes. An archive stores repeated pieces each time.
    pub(super) fn archived(&self) -> u64 {
        let pieces = self.pieces.iter();
        pieces.map(|piece| piece.stored * piece.times).sum()
    }

    /// Total number of files.
    pub(super) fn file_count(&self) -> u64 {
        self.files.iter().map(|(_, count)| count).sum()
    }

    /// The pieces of this state that `other` contains, or lacks.
    pub(super) fn pieces_in<'a>(
        &'a self,
        other: &'a Self,
        had: bool,
    ) -> impl Iterator<Item = &'a HistoryPiece> {
        self.pieces.iter().filter(move |piece| {
            let found = other
                .pieces
                .binary_search_by_key(&piece.id, |other| other.id);
            found.is_ok() == had
        })
    }

    /// The number of files that another state also contains.
    pub(super) fn files_in(&self, other: &Self) -> u64 {
        let groups = self.files.iter().map(|(id, count)| {
            let found = other.files.binary_search_by_key(id, |(other, _)| *other);
            found.map_or(0, |at| (*count).min(other.files[at].1))
        });
        groups.sum()
    }
}

/// Hashes a value; the result is the same in every run of a program.
pub(super) fn hash_number(of: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A state with one file of 100 bytes per piece, 50 bytes compressed.
    pub(crate) fn state(ids: &[u64]) -> Rc<HistoryState> {
        let pieces = ids.iter().map(|&id| HistoryPiece {
            id,
            raw: 100,
            stored: 50,
            times: 1,
        });
        let files = ids.iter().map(|&id| (id, 1));
        Rc::new(HistoryState::new(hash_number(ids), pieces, files))
    }

    /// A job with its time in days.
    pub(crate) fn job(day: f64, branch: &str, ids: &[u64]) -> HistoryJob {
        HistoryJob {
            time: day * 86_400.0,
            branch: branch.into(),
            state: state(ids),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::state;
    use super::*;

    #[test]
    fn what_two_states_share_is_found() {
        let (old, new) = (state(&[1, 2, 3]), state(&[2, 3, 4, 5]));
        let ids = |had| -> Vec<u64> { new.pieces_in(&old, had).map(|piece| piece.id).collect() };
        assert_eq!((ids(true), ids(false)), (vec![2, 3], vec![4, 5]));
        assert_eq!((new.files_in(&old), new.file_count()), (2, 4));
    }

    #[test]
    fn an_archive_has_everything_as_often_as_the_directory() {
        let piece = HistoryPiece {
            id: 1,
            raw: 10,
            stored: 4,
            times: 1,
        };
        let state = HistoryState::new(0, [piece, piece], [(9, 1), (9, 2)]);
        assert_eq!(state.pieces.len(), 1);
        assert_eq!(
            (state.raw(), state.archived(), state.file_count()),
            (20, 8, 3)
        );
    }
}
