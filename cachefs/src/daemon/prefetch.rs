//! Fetches data in the background before the readers of a view request it.

use std::collections::HashSet;
use std::sync::Arc;

use cachefs_store::Result;
use cachefs_store::frame::FrameLocation;

use super::traces::Fetching;
use crate::rpc::Prefetch;
use crate::sys::crash_record;
use crate::view::View;

/// Caches with more bytes of frames than this are streamed only on request.
const AUTO_LIMIT: u64 = 1 << 30;

/// Fetches the reads of earlier jobs, then the rest.
pub(super) async fn run(view: &Arc<View>, trace: Fetching, wanted: Prefetch) -> Result<()> {
    let listing = Arc::clone(view);
    let list = move || {
        let _at_work = crash_record::note_work(listing.number);
        frames(&listing)
    };
    let frames = tokio::task::spawn_blocking(list)
        .await
        .map_err(|_| cachefs_store::Error::Cancelled)??;
    if let Some(mut found) = trace.await {
        let of_view: HashSet<&FrameLocation> = frames.iter().collect();
        found.retain(|frame| of_view.contains(frame));
        for (frame, stored) in &found.bundled {
            view.reader.keep_frame(frame, stored);
        }
        let listed = found.trace.entries.iter().map(|entry| entry.frame);
        let listed = listed.collect();
        if let Some(recorder) = &view.recorder {
            recorder.published(found.trace);
        }
        view.reader.stream(listed).await?;
    }
    let stored: u64 = frames.iter().map(|frame| u64::from(frame.stored)).sum();
    let is_wanted = match wanted {
        Prefetch::None | Prefetch::Trace => false,
        Prefetch::Auto => stored <= AUTO_LIMIT,
        Prefetch::All => true,
    };
    if is_wanted {
        view.reader.stream(frames).await?;
    }
    Ok(())
}

/// All frames of a view's layers. Also informs the reader where packs end.
fn frames(view: &View) -> Result<Vec<FrameLocation>> {
    let mut frames = Vec::new();
    for layer in view.stack.layers() {
        view.reader.describe(layer.packs()?);
        for number in 0..layer.frame_count() {
            frames.push(layer.frame(number)?);
        }
    }
    Ok(frames)
}
