//! Frames that could not be had a moment ago.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::Error;
use crate::id::FrameHash;

/// How long a failure answers for later reads of the same frame.
///
/// The kernel asks again, page by page and at once, for what its read-ahead did not get. In an
/// outage each of these reads would wait for the whole deadline anew, and one `read(2)` for minutes.
const MEMORY: Duration = Duration::from_millis(250);

/// Remembers failures for a moment.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<FrameHash, (Instant, Arc<Error>)>>);

impl Failures {
    /// Notes why a frame could not be had; returns the error for its first reader.
    pub(super) fn note(&self, frame: FrameHash, error: Error) -> Error {
        let error = Arc::new(error);
        let mut failures = self.0.lock();
        failures.retain(|_, (since, _)| since.elapsed() < MEMORY);
        failures.insert(frame, (Instant::now(), Arc::clone(&error)));
        Error::Shared(error)
    }

    /// The failure of a frame, if it was just now.
    pub(super) fn recent(&self, frame: &FrameHash) -> Option<Error> {
        let failures = self.0.lock();
        let (since, error) = failures.get(frame)?;
        (since.elapsed() < MEMORY).then(|| Error::Shared(Arc::clone(error)))
    }
}
