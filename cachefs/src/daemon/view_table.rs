//! The views that a daemon serves, or is about to.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cachefs_store::id::StackId;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::task::AbortHandle;

use super::remote_pool::RemoteHandle;
use super::traces;
use crate::rpc::{OpenRequest, ViewStats};
use crate::view::SharedView;

/// A view and the background work for it.
#[derive(Debug)]
pub(super) struct OpenView {
    pub(super) view: SharedView,
    /// The request that created the view, and from which it can be recreated.
    pub(super) open: Arc<OpenRequest>,
    pub(super) remote: Arc<RemoteHandle>,
    pub(super) prefetch: Option<AbortHandle>,
    /// The connection of the mount that shows it, once there is one.
    pub(super) fuse: Option<OwnedFd>,
}

impl OpenView {
    /// Whether its mount is gone. The serving thread learns that a little later than the process
    /// that unmounted it.
    fn is_ending(&self) -> bool {
        self.fuse.as_ref().is_some_and(|fuse| {
            // The kernel reports the end of a connection to every poll, whatever events it waits
            // for.
            let mut asked = [PollFd::new(fuse, PollFlags::empty())];
            poll(&mut asked, Some(&Timespec::default())).is_ok()
                && asked[0].revents().contains(PollFlags::ERR)
        })
    }
}

impl Drop for OpenView {
    fn drop(&mut self) {
        if let Some(prefetch) = &self.prefetch {
            prefetch.abort();
        }
        self.remote.touch();
    }
}

/// Views by number.
#[derive(Debug, Default)]
pub(super) struct Views {
    open: Mutex<HashMap<u64, OpenView>>,
    next: AtomicU64,
}

impl Views {
    /// A number that no other view has.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed) + 1
    }

    /// Keeps a number from being given to another view.
    pub(super) fn reserve(&self, number: u64) {
        self.next.fetch_max(number, Relaxed);
    }

    pub(super) fn insert(&self, number: u64, view: OpenView) {
        self.open.lock().insert(number, view);
    }

    pub(super) fn get(&self, number: u64) -> Option<(SharedView, Arc<OpenRequest>)> {
        let open = self.open.lock();
        let view = open.get(&number)?;
        Some((view.view.clone(), Arc::clone(&view.open)))
    }

    /// Notes that a view is mounted.
    pub(super) fn mounted(&self, number: u64, fuse: OwnedFd) {
        if let Some(view) = self.open.lock().get_mut(&number) {
            view.fuse = Some(fuse);
        }
    }

    /// Whether a mount is gone and its view not closed yet.
    pub(super) fn is_one_ending(&self) -> bool {
        self.open.lock().values().any(OpenView::is_ending)
    }

    /// The views of one stack.
    pub(super) fn of_stack(&self, stack: &StackId) -> Vec<SharedView> {
        let open = self.open.lock();
        let views = open.values().map(|open| &open.view);
        views
            .filter(|view| traces::is_of(view, stack))
            .cloned()
            .collect()
    }

    /// Takes a view out. It is dropped by the caller, outside of the lock: a large tree takes a
    /// while to free.
    pub(super) fn remove(&self, number: u64) -> Option<OpenView> {
        self.open.lock().remove(&number)
    }

    pub(super) fn stats(&self) -> Vec<ViewStats> {
        let open = self.open.lock();
        let mut stats: Vec<_> = open
            .iter()
            .map(|(view, open)| ViewStats {
                view: *view,
                remote: open.view.reader.remote().url().to_owned(),
                layers: open.view.stack.layers().len(),
            })
            .collect();
        stats.sort_by_key(|stats| stats.view);
        stats
    }
}
