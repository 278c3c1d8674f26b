//! Frames that could not be had a moment ago.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::Error;
use crate::frame::FrameLocation;
use crate::id::{FrameHash, PackId};

/// How long a failure answers later reads of the same frame.
///
/// The kernel requests pages that its read-ahead did not get again, one by one and at once. In an
/// outage each of these reads would wait for the whole deadline, and one `read(2)` for minutes.
const MEMORY: Duration = Duration::from_millis(250);

/// Remembers failures for a moment, for each place of a frame: another pack may have it intact.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<FramePlace, (Instant, Arc<Error>)>>);

/// A frame in one pack; other packs may have equal frames.
type FramePlace = (PackId, FrameHash);

impl Failures {
    /// Notes why a frame could not be had; returns the error for its first reader.
    pub(super) fn note(&self, frame: &FrameLocation, error: Error) -> Error {
        let error = Arc::new(error);
        let mut failures = self.0.lock();
        failures.retain(|_, (since, _)| since.elapsed() < MEMORY);
        failures.insert(
            (frame.pack, frame.hash),
            (Instant::now(), Arc::clone(&error)),
        );
        Error::Shared(error)
    }

    /// The failure of a frame, if it was just now.
    pub(super) fn recent(&self, frame: &FrameLocation) -> Option<Error> {
        let failures = self.0.lock();
        let (since, error) = failures.get(&(frame.pack, frame.hash))?;
        (since.elapsed() < MEMORY).then(|| Error::Shared(Arc::clone(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Codec;

    #[test]
    fn a_damaged_copy_of_a_frame_says_nothing_about_another_pack() {
        let frame = FrameLocation {
            pack: PackId([1; 16]),
            offset: 8,
            stored: 4,
            raw: 4,
            codec: Codec::Raw,
            hash: FrameHash::of(b"four"),
        };
        let elsewhere = FrameLocation {
            pack: PackId([2; 16]),
            ..frame
        };
        let failures = Failures::default();
        failures.note(&frame, Error::damaged("frame", "other bytes"));
        assert!(failures.recent(&frame).is_some());
        assert!(failures.recent(&elsewhere).is_none());
    }
}
