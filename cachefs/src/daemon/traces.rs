//! Traces of reads: fetched for this job, and published for the next one.

use std::future::Future;
use std::pin::Pin;

use cachefs_store::Result;
use cachefs_store::id::{LayerId, StackId};
use cachefs_store::local::FrameReader;
use cachefs_store::refs::LayerInfo;
use cachefs_store::trace::{self, FetchedTrace, Trace};

use crate::rpc::Prefetch;
use crate::view::View;

/// A trace comes with its frames when they are at most this part of the cache.
const MUCH: u64 = 4;

/// A trace in flight; `None` if there is none or it cannot be fetched.
pub(super) type Fetching = Pin<Box<dyn Future<Output = Option<FetchedTrace>> + Send>>;

/// Begins to fetch the trace of a stack. Must be called within the runtime.
pub(super) fn fetch_trace(
    reader: &FrameReader,
    layers: &[LayerInfo],
    prefetch: Prefetch,
) -> Fetching {
    if prefetch == Prefetch::None || reader.remote().local_dir().is_some() {
        return Box::pin(async { None });
    }
    let remote = reader.remote().clone();
    let layers: Vec<LayerId> = layers.iter().map(|layer| layer.id).collect();
    let task = tokio::spawn(async move {
        match trace::fetch_trace(&remote, &layers).await {
            Ok(found) => found,
            Err(error) => {
                let error = crate::error::describe_chain(&error);
                tracing::warn!("cannot fetch the access traces of earlier jobs: {error}");
                None
            }
        }
    });
    Box::pin(async { task.await.ok().flatten() })
}

fn view_stack(view: &View) -> StackId {
    let layers: Vec<_> = view.stack.layers().iter().map(|layer| layer.id()).collect();
    StackId::of(&layers)
}

/// Publishes the reads of a view, if the published trace lacks some of them.
pub(super) async fn publish_news(view: &View) -> Result<()> {
    let Some(recorder) = &view.recorder else {
        return Ok(());
    };
    match recorder.news() {
        Some(news) => publish_trace(view, &view_stack(view), &news).await,
        None => Ok(()),
    }
}

/// Publishes the reads of a view as the trace of another stack.
pub(super) async fn publish_as(view: &View, to: &StackId) -> Result<()> {
    match &view.recorder {
        Some(recorder) if view_stack(view) != *to => {
            publish_trace(view, to, &recorder.trace()).await
        }
        _ => Ok(()),
    }
}

/// The size of all that a view may need, compressed.
fn stored_bytes(view: &View) -> Result<u64> {
    let mut bytes = 0;
    for layer in view.stack.layers() {
        for number in 0..layer.frame_count() {
            bytes += u64::from(layer.frame(number)?.stored);
        }
    }
    Ok(bytes)
}

async fn publish_trace(view: &View, stack: &StackId, trace: &Trace) -> Result<()> {
    if trace.entries.is_empty() {
        return Ok(());
    }
    // If a job reads most of a cache, fetching everything in order serves it as well.
    let read: u64 = trace
        .entries
        .iter()
        .map(|entry| u64::from(entry.frame.stored))
        .sum();
    let is_little = read <= stored_bytes(view)? / MUCH;
    let stored = |frame: &_| is_little.then(|| view.reader.stored(frame)).flatten();
    let bytes = trace::publish_trace(view.reader.remote(), stack, trace, stored).await?;
    if let Some(recorder) = &view.recorder {
        recorder.published(trace.clone());
    }
    let frames = trace.entries.len();
    tracing::debug!("published the access trace: {frames} frames, {bytes} bytes");
    Ok(())
}

/// The name of the stack that a view shows.
pub(super) fn is_of(view: &View, of: &StackId) -> bool {
    view_stack(view) == *of
}
