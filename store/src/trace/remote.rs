//! Fetching and publishing traces.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Trace, format, object_key};
use crate::error::{ErrorKind, Result};
use crate::frame::FrameLocation;
use crate::id::{LayerId, PackId, StackId};
use crate::remote::{DynRemote, ObjectKey, PutMode, RemoteErrorKind};
use crate::repository::refuse_newer_format;

/// A stack without a trace of its own takes that of the stack it grew from, up to so many layers
/// below.
const ANCESTORS: usize = 3;

/// Gets the trace of a stack, or of the nearest one that it grew from. `bundled` takes the frames
/// that come with it.
pub async fn fetch_trace(
    remote: &DynRemote,
    layers: &[LayerId],
    mut bundled: impl FnMut(&FrameLocation, Bytes),
) -> Result<Option<Trace>> {
    let lengths = (1..=layers.len()).rev().take(ANCESTORS);
    for length in lengths {
        let key = object_key(&StackId::of(&layers[..length]));
        match remote.get(&key, super::MAX).await {
            Ok(object) => return Trace::decode(&object, &mut bundled).map(Some),
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

/// The packs that a trace names, without the frames that come with it. None when it can't be
/// read: such a trace is of no use.
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
