//! Histories from directories: states of a cached directory, chunked and compressed like a save.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};
use cachefs_store::chunk;
use cachefs_store::frame::{BuiltFrame, FrameBuilder};
use cachefs_store::id::ChunkId;

use super::history::{History, HistoryJob, HistoryPiece, HistoryState, MAIN, hash_number};
use crate::interrupt;

/// Creates one job for each directory, in the given order, `gap` seconds apart.
pub(super) fn read_directories(directories: &[PathBuf], gap: f64) -> Result<History> {
    let mut reader = HistoryReader::default();
    let mut jobs = Vec::new();
    for (position, dir) in directories.iter().enumerate() {
        let state = reader.state(dir);
        let state = state.with_context(|| format!("could not read {}", dir.display()))?;
        jobs.push(HistoryJob {
            time: gap * position as f64,
            branch: MAIN.into(),
            state: Rc::new(state),
        });
    }
    let facts = vec![(
        "history",
        format!(
            "{} directories, one job for each; bytes are those of the chunks and frames that cachefs \
             makes of them, and an archive is taken to compress as well as frames do",
            directories.len()
        ),
    )];
    Ok(History {
        jobs,
        facts,
        real_times: false,
    })
}

/// Reads states in sequence. A new chunk is compressed together with its new neighbours, as in a
/// save.
#[derive(Default)]
struct HistoryReader {
    stored: HashMap<ChunkId, u64>,
}

impl HistoryReader {
    fn state(&mut self, dir: &Path) -> Result<HistoryState> {
        let mut paths = Vec::new();
        list_files(dir, &mut paths)?;
        paths.sort();
        let mut builder = FrameBuilder::new()?;
        let mut chunks = Vec::new();
        let mut contents = Vec::new();
        for path in &paths {
            interrupt::check_interrupt()?;
            let bytes = fs::read(path)?;
            let mut ids = Vec::new();
            for segment in bytes.chunks(chunk::SEGMENT as usize) {
                let mut rest = segment;
                for length in chunk::cut_chunks(segment) {
                    let (piece, after) = rest.split_at(length);
                    rest = after;
                    let id = ChunkId::of(piece);
                    ids.push((id, length as u64));
                    // Insert now, so that a second occurrence of the chunk is not compressed again.
                    if let Entry::Vacant(place) = self.stored.entry(id) {
                        place.insert(0);
                        self.take(builder.push(id, piece)?);
                    }
                }
            }
            let name = path.strip_prefix(dir)?;
            contents.push((hash_number(&(name, &ids)), 1));
            chunks.extend(ids);
        }
        self.take(builder.finish()?);
        let pieces = chunks.iter().map(|(id, length)| HistoryPiece {
            id: hash_number(id),
            raw: *length,
            stored: self.stored.get(id).copied().unwrap_or(0),
            times: 1,
        });
        Ok(HistoryState::new(
            hash_number(&contents),
            pieces,
            contents.iter().copied(),
        ))
    }

    /// Records the compressed size of each chunk: its share of the frame by length.
    fn take(&mut self, frame: Option<BuiltFrame>) {
        let Some(frame) = frame else { return };
        for (id, length) in &frame.chunks {
            let share = f64::from(*length) / f64::from(frame.raw.max(1));
            let stored = (frame.stored.len() as f64 * share).round() as u64;
            self.stored.insert(*id, stored);
        }
    }
}

/// Appends the regular files below a directory to `found`.
fn list_files(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list_files(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_the_same_is_found_and_compressed_once() {
        let temp = tempfile::tempdir().unwrap();
        let dir = |name: &str| temp.path().join(name);
        let text = "a line that compresses well\n".repeat(100);
        for (name, changed) in [("one", "old"), ("two", "new")] {
            fs::create_dir_all(dir(name).join("sub")).unwrap();
            fs::write(dir(name).join("same"), &text).unwrap();
            fs::write(dir(name).join("sub/again"), &text).unwrap();
            fs::write(dir(name).join("changed"), changed).unwrap();
        }
        let history = read_directories(&[dir("one"), dir("two"), dir("one")], 60.0).unwrap();
        let states: Vec<_> = history.jobs.iter().map(|job| &job.state).collect();
        assert_eq!(states[0], states[2]);
        assert_ne!(states[0].key, states[1].key);
        assert_eq!(states[0].raw(), 2 * text.len() as u64 + 3);
        assert_eq!(states[0].pieces.len(), 2);
        assert!(states[0].archived() < 1000 && states[0].archived() > 0);
        assert_eq!(
            states[1]
                .pieces_in(states[0], false)
                .map(|piece| piece.raw)
                .sum::<u64>(),
            3
        );
        assert_eq!(
            (states[1].files_in(states[0]), states[1].file_count()),
            (2, 3)
        );
        assert_eq!(history.jobs[2].time, 120.0);
        read_directories(&[dir("none")], 1.0).unwrap_err();
    }
}
