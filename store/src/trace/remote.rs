//! Fetching and publishing traces.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Trace, format, object_key};
use crate::error::{ErrorKind, Result};
use crate::frame::FrameLocation;
use crate::id::{LayerId, PackId, StackId};
use crate::remote::{DynRemote, ObjectKey, PutMode, RemoteErrorKind};
use crate::repository::refuse_newer_format;

/// If a stack has no trace, the trace of a stack with fewer layers is used, at most this many
/// layers below.
const ANCESTORS: usize = 3;

/// A trace as fetched from a remote. Its content is untrusted: anyone with write access may have
/// chosen it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchedTrace {
    /// The frames that it lists.
    pub trace: Trace,
    /// Stored bytes of frames that came with it; each has its hash.
    pub bundled: Vec<(FrameLocation, Bytes)>,
}

impl FetchedTrace {
    /// Drops every frame that the stack does not have. Until then, nothing of a trace may be fetched
    /// or kept: it could name any place of any pack.
    pub fn retain(&mut self, is_of_stack: impl Fn(&FrameLocation) -> bool) {
        self.trace.entries.retain(|entry| is_of_stack(&entry.frame));
        self.bundled.retain(|(frame, _)| is_of_stack(frame));
    }
}

/// Gets the trace of a stack, or of the nearest one that it grew from.
pub async fn fetch_trace(remote: &DynRemote, layers: &[LayerId]) -> Result<Option<FetchedTrace>> {
    let lengths = (1..=layers.len()).rev().take(ANCESTORS);
    for length in lengths {
        let key = object_key(&StackId::of(&layers[..length]));
        match remote.get(&key, super::MAX).await {
            Ok(object) => {
                let mut bundled = Vec::new();
                let trace = Trace::decode(&object, |frame, bytes| bundled.push((*frame, bytes)))?;
                return Ok(Some(FetchedTrace { trace, bundled }));
            }
            Err(error) if error.kind() == RemoteErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Publishes the trace of a stack, with the frames that `stored` has.
pub async fn publish_trace(
    remote: &DynRemote,
    stack: &StackId,
    trace: &Trace,
    stored: impl FnMut(&FrameLocation) -> Option<Vec<u8>>,
) -> Result<u64> {
    refuse_newer_format(remote).await?;
    let object = trace.encode(stored);
    let length = object.len() as u64;
    remote
        .put(&object_key(stack), object, PutMode::Overwrite)
        .await?;
    Ok(length)
}

/// Returns the packs that a trace names, without its bundled frames. `None` if the trace cannot be
/// decoded; readers ignore such a trace, too.
pub async fn trace_packs(remote: &DynRemote, key: &ObjectKey) -> Result<BTreeSet<PackId>> {
    let read = async {
        let head = remote.get_range(key, 0..format::HEAD).await?;
        let length = format::list_length(&head)?;
        format::list_packs(&remote.get_range(key, 0..length).await?)
    };
    match read.await {
        Err(error) if error.is_not_found() || error.kind() == ErrorKind::Integrity => {
            Ok(BTreeSet::new())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Codec;
    use crate::id::FrameHash;
    use crate::trace::TraceEntry;

    #[test]
    fn a_trace_places_nothing_that_the_stack_does_not_have() {
        let bytes = Bytes::from_static(b"whatever a stranger likes");
        let own = FrameLocation {
            pack: PackId([1; 16]),
            offset: 100,
            stored: bytes.len() as u32,
            raw: bytes.len() as u32,
            codec: Codec::Raw,
            hash: FrameHash::of(&bytes),
        };
        let mut pack = own;
        pack.pack = PackId([2; 16]);
        let mut place = own;
        place.offset = 0;
        let mut content = own;
        content.hash = FrameHash::of(b"other");
        let all = [pack, own, place, content];
        let entries = all.map(|frame| TraceEntry { frame, idle: 0 });
        let mut fetched = FetchedTrace {
            trace: Trace {
                entries: entries.into(),
            },
            bundled: all.map(|frame| (frame, bytes.clone())).into(),
        };
        fetched.retain(|frame| *frame == own);
        assert_eq!(
            fetched.trace.entries,
            [TraceEntry {
                frame: own,
                idle: 0
            }]
        );
        assert_eq!(fetched.bundled, [(own, bytes)]);
    }
}
