//! Fetching many frames in the background.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::watch;

use super::{FrameReader, Outcome};
use crate::error::{Error, Result};
use crate::frame;
use crate::frame::FrameLocation;
use crate::id::PackId;

/// Background streaming asks for this much at a time: little enough that a read can wait for it.
const STREAM: u64 = 4 << 20;
/// Number of ranges in flight for background streaming.
const STREAMS: usize = 4;
/// Number of ranges in flight while a read waits. Not zero, because a job that reads everything
/// always waits.
const STREAMS_BESIDE_READS: usize = 2;

impl FrameReader {
    /// Fetches all of these frames that are not on the local disk, with fewer requests at a time
    /// while readers wait for other frames. Reads of a range in flight wait for that flight.
    pub async fn stream(&self, frames: Vec<FrameLocation>) -> Result<()> {
        if self.inner.in_place.is_some() {
            return Ok(());
        }
        let mut flights = tokio::task::JoinSet::new();
        for frames in coalesce_ranges(frames) {
            loop {
                let width = match self.inner.waiting.load(Relaxed) {
                    0 => STREAMS,
                    _ => STREAMS_BESIDE_READS,
                };
                if flights.len() < width {
                    break;
                }
                stream_outcome(flights.join_next().await)?;
            }
            let reader = self.clone();
            let missing = move || missing_range(&reader, &frames);
            let Some((pack, range)) = tokio::task::spawn_blocking(missing)
                .await
                .map_err(|_| Error::Cancelled)?
            else {
                continue;
            };
            let mut outcome = self.fly(pack, range);
            flights.spawn(async move {
                match outcome.wait_for(Option::is_some).await.as_deref() {
                    Ok(Some(Err(error))) => Err(Error::Shared(Arc::clone(error))),
                    _ => Ok(()),
                }
            });
        }
        while let Some(finished) = flights.join_next().await {
            stream_outcome(Some(finished))?;
        }
        Ok(())
    }

    /// Starts fetching a range that nobody waits for yet.
    fn fly(&self, pack: PackId, range: Range<u64>) -> watch::Receiver<Outcome> {
        let mut flights = self.inner.flights.lock();
        let outcome = self.launch(pack, range.clone(), 0);
        let of_pack = flights.entry(pack).or_default();
        of_pack.ranges.push((range, outcome.clone()));
        outcome
    }
}

/// The result of a streamed range.
fn stream_outcome(
    finished: Option<std::result::Result<Result<()>, tokio::task::JoinError>>,
) -> Result<()> {
    finished.map_or(Ok(()), |finished| finished.map_err(|_| Error::Cancelled)?)
}

/// The range of those frames of one pack, in order, that are not on the local disk.
fn missing_range(reader: &FrameReader, frames: &[FrameLocation]) -> Option<(PackId, Range<u64>)> {
    let is_missing = |frame: &&FrameLocation| reader.stored(frame).is_none();
    let first = frames.iter().find(is_missing)?;
    let last = frames.iter().rev().find(is_missing)?;
    Some((first.pack, first.range().start..last.range().end))
}

/// Groups frames into ranges of about [`STREAM`] bytes, over gaps smaller than a frame.
fn coalesce_ranges(mut frames: Vec<FrameLocation>) -> Vec<Vec<FrameLocation>> {
    frames.sort_by_key(|frame| (frame.pack, frame.offset));
    let mut ranges: Vec<Vec<FrameLocation>> = Vec::new();
    for frame in frames {
        let range = frame.range();
        match ranges.last_mut() {
            Some(group)
                if let (Some(first), Some(last)) = (group.first(), group.last())
                    && first.pack == frame.pack
                    && range.start <= last.range().end + frame::TARGET as u64
                    && range.end - first.range().start <= STREAM =>
            {
                group.push(frame);
            }
            _ => ranges.push(vec![frame]),
        }
    }
    ranges
}
