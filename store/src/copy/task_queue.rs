//! Handing out tasks, each when the frames it needs are there.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::runtime::Handle;

use super::context::CopyContext;
use crate::error::Result;
use crate::frame::FrameLocation;
use crate::layer::mode;
use crate::local::FrameReader;

/// Tasks are fetched for in groups of about this many bytes of files.
const GROUP_BYTES: u64 = 16 << 20;
/// Number of groups that are fetched concurrently.
const GROUPS: usize = 3;

/// Starts to distribute the numbers of tasks; the channel ends after the last one.
///
/// Missing frames are fetched into the local cache, a few groups ahead of the writing threads. A
/// thread that needs a frame retries a failed fetch, and reports it.
pub(super) fn start_feed<'scope, 'env>(
    copy: &'env CopyContext<'env>,
    reader: &'env FrameReader,
    runtime: &'env Handle,
    scope: &'scope Scope<'scope, 'env>,
) -> Receiver<usize> {
    let tasks = copy.plan.tasks.len();
    if reader.remote().local_dir().is_some() {
        let (sender, receiver) = bounded(tasks);
        (0..tasks).for_each(|task| {
            // The channel has room for all, and its receiver is returned below.
            let _ = sender.send(task);
        });
        return receiver;
    }
    let (sender, receiver) = bounded(copy.threads);
    let groups = Arc::new(group_tasks(copy));
    let next = Arc::new(AtomicUsize::new(0));
    for _ in 0..GROUPS.min(groups.len()) {
        let (sender, groups, next) = (sender.clone(), groups.clone(), next.clone());
        scope.spawn(move || {
            while let Some(group) = groups.get(next.fetch_add(1, Relaxed)) {
                if copy.check_cancelled().is_err()
                    || !hand_out(copy, reader, runtime, group, &sender)
                {
                    return;
                }
            }
        });
    }
    receiver
}

/// Joins tasks into groups.
fn group_tasks(copy: &CopyContext<'_>) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let (mut first, mut bytes) = (0, 0);
    for (number, task) in copy.plan.tasks.iter().enumerate() {
        let parts = &copy.plan.parts[task.clone()];
        bytes += parts
            .iter()
            .map(|part| part.range.end - part.range.start)
            .sum::<u64>();
        if bytes >= GROUP_BYTES {
            groups.push(first..number + 1);
            (first, bytes) = (number + 1, 0);
        }
    }
    if first < copy.plan.tasks.len() {
        groups.push(first..copy.plan.tasks.len());
    }
    groups
}

/// Fetches the frames of a group, then distributes its tasks; `false` if no thread takes them any
/// more.
fn hand_out(
    copy: &CopyContext<'_>,
    reader: &FrameReader,
    runtime: &Handle,
    group: &Range<usize>,
    tasks: &Sender<usize>,
) -> bool {
    let fetched =
        group_frames(copy, group).and_then(|frames| runtime.block_on(reader.stream(frames)));
    if let Err(error) = fetched {
        tracing::debug!("prefetching failed: {error}");
    }
    group.clone().all(|task| tasks.send(task).is_ok())
}

/// The frames that the tasks of a group need.
fn group_frames(copy: &CopyContext<'_>, group: &Range<usize>) -> Result<Vec<FrameLocation>> {
    let mut frames = HashSet::new();
    for task in group.clone() {
        for part in &copy.plan.parts[copy.plan.tasks[task].clone()] {
            let leaf = &copy.plan.leaves[part.leaf];
            if copy.stack.attr(leaf.ino)?.kind() != mode::FILE {
                continue;
            }
            for piece in copy.stack.pieces(leaf.ino, part.range.clone())? {
                frames.extend(piece?.location.map(|at| at.frame));
            }
        }
    }
    Ok(frames.into_iter().collect())
}
