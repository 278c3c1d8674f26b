//! Histories: jobs one after the other, each with the state of a directory that it needs.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

/// The branch whose caches every other may use.
pub(super) const MAIN: &str = "main";

/// A part of a directory that is the same wherever its number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HistoryPiece {
    /// Names it.
    pub(super) id: u64,
    /// Its bytes in files.
    pub(super) raw: u64,
    /// Its bytes after compression.
    pub(super) stored: u64,
    /// How often it is in the directory.
    pub(super) times: u64,
}

/// What a directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HistoryState {
    /// What a key that is made of its lock file, or of all of its content, stands for.
    pub(super) key: u64,
    /// Its parts, each once, by their numbers.
    pub(super) pieces: Vec<HistoryPiece>,
    /// Its files, or groups of files that change together: a number that names content, and how many
    /// files it is. By number, each once.
    pub(super) files: Vec<(u64, u64)>,
}

/// One job.
#[derive(Debug, Clone)]
pub(super) struct HistoryJob {
    /// When it starts, in seconds.
    pub(super) time: f64,
    /// On which branch.
    pub(super) branch: Rc<str>,
    /// What it needs.
    pub(super) state: Rc<HistoryState>,
}

/// Jobs in the order of their times.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The jobs.
    pub(super) jobs: Vec<HistoryJob>,
    /// Where they come from and what is assumed about them: name and text.
    pub(super) facts: Vec<(&'static str, String)>,
    /// Whether the times are those of real jobs.
    pub(super) real_times: bool,
}

impl HistoryState {
    /// Puts a state together; equal numbers are added up.
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

    /// All bytes in files.
    pub(super) fn raw(&self) -> u64 {
        self.pieces
            .iter()
            .map(|piece| piece.raw * piece.times)
            .sum()
    }

    /// The bytes of an archive of it: nothing is shared within.
    pub(super) fn archived(&self) -> u64 {
        let pieces = self.pieces.iter();
        pieces.map(|piece| piece.stored * piece.times).sum()
    }

    /// All files.
    pub(super) fn file_count(&self) -> u64 {
        self.files.iter().map(|(_, count)| count).sum()
    }

    /// The pieces of this state that another has or has not.
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

    /// How many of its files another state has.
    pub(super) fn files_in(&self, other: &Self) -> u64 {
        let groups = self.files.iter().map(|(id, count)| {
            let found = other.files.binary_search_by_key(id, |(other, _)| *other);
            found.map_or(0, |at| (*count).min(other.files[at].1))
        });
        groups.sum()
    }
}

/// A number for anything that can be told apart; the same in every run of a program.
pub(super) fn hash_number(of: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A state of pieces with 100 bytes each, 50 after compression, one file each.
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

    /// A job in a day.
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
