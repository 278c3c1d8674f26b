//! Noting which frames are read.

use std::collections::HashSet;

use parking_lot::Mutex;

use super::{MAX_FRAMES, Trace};
use crate::frame::FrameLocation;
use crate::id::FrameHash;

/// Notes the order of first reads of one view.
#[derive(Debug, Default)]
pub struct TraceRecorder {
    state: Mutex<RecorderState>,
}

#[derive(Debug, Default)]
struct RecorderState {
    seen: HashSet<FrameHash>,
    order: Vec<FrameLocation>,
    /// The trace that earlier runs published, once it has been fetched.
    published: Trace,
    known: HashSet<FrameHash>,
}

impl TraceRecorder {
    /// Notes frames that are read now.
    pub fn read<'a>(&self, frames: impl IntoIterator<Item = &'a FrameLocation>) {
        let mut state = self.state.lock();
        for frame in frames {
            if state.order.len() < MAX_FRAMES && state.seen.insert(frame.hash) {
                state.order.push(*frame);
            }
        }
    }

    /// Sets the trace that is already published, so that only a run with new reads is published.
    pub fn published(&self, trace: Trace) {
        let mut state = self.state.lock();
        state.known = trace.entries.iter().map(|entry| entry.frame.hash).collect();
        state.published = trace;
    }

    /// The trace that should be published: `None` when this run read nothing that the published
    /// one does not list.
    pub fn news(&self) -> Option<Trace> {
        let state = self.state.lock();
        if state.seen.is_subset(&state.known) {
            return None;
        }
        Some(state.published.after(&state.order))
    }

    /// The trace as it is after this run, whether or not it says anything new.
    pub fn trace(&self) -> Trace {
        let state = self.state.lock();
        state.published.after(&state.order)
    }
}
