//! The kernel's reads of a view, for reports.

use std::collections::{HashMap, HashSet};

use cachefs_store::Result;
use cachefs_store::frame::FrameLocation;
use cachefs_store::id::FrameHash;
use cachefs_store::stack::Ino;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::SharedView;

/// Notes the files and frames that the kernel requested of a view.
///
/// The kernel caches pages, so it requests each page once, and reads ahead. In a tree, read-ahead
/// stops at the end of a file; in an image it does not.
#[derive(Debug, Default)]
pub(crate) struct ReadNotes(Mutex<ReadNotesState>);

#[derive(Debug, Default)]
struct ReadNotesState {
    files: HashMap<Ino, u64>,
    frames: HashSet<FrameHash>,
    awaited: HashSet<FrameHash>,
}

impl ReadNotes {
    /// Notes a read: its frames, and its files with the number of bytes of each.
    pub(super) fn read<'a>(
        &self,
        files: impl Iterator<Item = (Ino, u64)>,
        frames: impl Iterator<Item = &'a FrameLocation>,
    ) {
        let mut state = self.0.lock();
        for (ino, bytes) in files {
            *state.files.entry(ino).or_default() += bytes;
        }
        state.frames.extend(frames.map(|frame| frame.hash));
    }

    /// Notes a frame that a read had to wait for.
    pub(super) fn awaited(&self, frame: FrameHash) {
        self.0.lock().awaited.insert(frame);
    }
}

/// Frames and the bytes they take in packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FrameTotals {
    /// How many.
    pub count: u64,
    /// Their stored bytes.
    pub bytes: u64,
}

impl FrameTotals {
    fn add(&mut self, frame: &FrameLocation) {
        self.count += 1;
        self.bytes += u64::from(frame.stored);
    }
}

/// The reads of a mounted stack so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReadReport {
    /// Whether the kernel reads an image, whose read-ahead does not stop at the end of a file.
    pub image: bool,
    /// Whether frames lie on a local disk anyway, so that none was ever fetched.
    pub in_place: bool,
    /// Inode numbers of the files that the kernel requested, with the number of bytes.
    pub files: Vec<(u64, u64)>,
    /// Frames that were read.
    pub read: FrameTotals,
    /// The frames among them that a read had to wait for.
    pub awaited: FrameTotals,
    /// Frames that are on this machine and that nothing has read: fetched ahead, or left by an
    /// earlier job.
    pub idle: FrameTotals,
    /// Frames that are not on this machine.
    pub absent: FrameTotals,
}

/// Reports the reads of a stack through these views; `None` without views.
pub(crate) fn report_reads(views: &[SharedView]) -> Result<Option<ReadReport>> {
    let Some(first) = views.first() else {
        return Ok(None);
    };
    let mut read = ReadNotesState::default();
    for view in views {
        let state = view.reads.0.lock();
        for (ino, bytes) in &state.files {
            let most = read.files.entry(*ino).or_default();
            *most = (*most).max(*bytes);
        }
        read.frames.extend(&state.frames);
        read.awaited.extend(&state.awaited);
    }
    let mut report = ReadReport {
        image: views.iter().any(|view| view.image.is_some()),
        in_place: first.reader.remote().local_dir().is_some(),
        ..ReadReport::default()
    };
    let mut seen = HashSet::new();
    for layer in first.stack.layers() {
        for number in 0..layer.frame_count() {
            let frame = layer.frame(number)?;
            if !seen.insert(frame.hash) {
                continue;
            }
            if read.frames.contains(&frame.hash) {
                report.read.add(&frame);
                if read.awaited.contains(&frame.hash) {
                    report.awaited.add(&frame);
                }
            } else if first.reader.is_at_hand(&frame) {
                report.idle.add(&frame);
            } else {
                report.absent.add(&frame);
            }
        }
    }
    let files = read.files.into_iter();
    report.files = files.map(|(ino, bytes)| (ino.number(), bytes)).collect();
    report.files.sort_unstable();
    Ok(Some(report))
}
