//! State that all connections of a daemon share, and the work behind the requests.

mod views;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use cachefs_store::id::StackId;
use cachefs_store::index::Index;
use cachefs_store::local::{LayerCache, PackCache};
use parking_lot::Mutex;
use tokio::runtime::Runtime;

use super::fd_table::{Item, name_of_view};
use super::idle_exit::Activity;
use super::memory_trim::Tidy;
use super::remote_pool::Remotes;
use super::supervisor_channel::Keeper;
use super::traces::{self};
use super::view_table::Views;
use crate::error::{Error, Result};
use crate::rpc::{DaemonStats, OpenRequest, RestoreCounts};
use crate::shares::Shares;
use crate::store_dir::StoreDir;
use crate::sys::fuse_init::FuseInit;
use crate::view::{self, ReadReport, ViewForm};
use cachefs_store::Hint;

pub(super) struct DaemonState {
    store: StoreDir,
    runtime: Runtime,
    cache: Arc<PackCache>,
    layers: LayerCache,
    remotes: Arc<Remotes>,
    views: Views,
    /// Opened when a save first needs it: a restore never waits for it.
    index: OnceLock<Arc<Index>>,
    opening: Mutex<()>,
    restores: Mutex<RestoreCounts>,
    pub(super) shares: Shares,
    pub(super) activity: Activity,
    keeper: Keeper,
    /// How many workers there were before this one.
    restarts: u64,
    /// Mounts of the worker before this one that are not served yet.
    waiting: AtomicUsize,
    tidy: Tidy,
    started: Instant,
}

impl DaemonState {
    pub(super) fn new(
        store: StoreDir,
        cache_limit: u64,
        runtime: Runtime,
        keeper: Keeper,
        restarts: u64,
    ) -> Self {
        let cache = Arc::new(PackCache::new(store.path(), cache_limit));
        let layers = LayerCache::new(store.path());
        let remotes = Arc::<Remotes>::default();
        remotes.sweep(runtime.handle());
        Self {
            store,
            runtime,
            cache,
            layers,
            remotes,
            views: Views::default(),
            index: OnceLock::new(),
            opening: Mutex::new(()),
            restores: Mutex::default(),
            shares: Shares::default(),
            activity: Activity::default(),
            keeper,
            restarts,
            waiting: AtomicUsize::new(0),
            tidy: Tidy::default(),
            started: Instant::now(),
        }
    }

    /// Runs something that nobody waits for.
    pub(super) fn beside(&self, work: impl FnOnce() + Send + 'static) {
        self.runtime.spawn_blocking(work);
    }

    pub(super) fn index(&self) -> Result<Arc<Index>> {
        if let Some(index) = self.index.get() {
            return Ok(Arc::clone(index));
        }
        let _one_at_a_time = self.opening.lock();
        if let Some(index) = self.index.get() {
            return Ok(Arc::clone(index));
        }
        let index = Arc::new(Index::open(&self.store.index())?);
        Ok(Arc::clone(self.index.get_or_init(|| index)))
    }

    pub(super) fn serve(
        self: &Arc<Self>,
        number: u64,
        form: ViewForm,
        fuse: OwnedFd,
    ) -> Result<()> {
        let (view, open) = self.views.get(number).ok_or_else(|| unknown_view(number))?;
        let serve = || Error::io("serve", "the mount");
        let init = FuseInit::receive(fuse.as_fd()).map_err(serve())?;
        let numbering = view.numbering;
        let ready =
            view::begin_session(view, form, &fuse, &init, self.runtime.handle()).map_err(serve())?;
        // Without it, or if the kernel cannot resend requests, the mount dies with this worker.
        let is_held = init.resends() && {
            let open = OpenRequest::clone(&open);
            let item = Item::Mount {
                open,
                form,
                numbering,
                init,
            };
            let name = name_of_view(number);
            self.keeper.hold(name, &item, fuse.as_fd()).is_ok()
        };
        self.views.mounted(number, fuse);
        let state = Arc::clone(self);
        let ended = move || state.ended(number, is_held);
        ready.start(ended).map_err(serve())
    }

    /// Continues to serve a view of the previous worker.
    pub(super) fn go_on(
        self: &Arc<Self>,
        number: u64,
        form: ViewForm,
        fuse: &OwnedFd,
        init: &FuseInit,
    ) -> Result<()> {
        let (view, _) = self.views.get(number).ok_or_else(|| unknown_view(number))?;
        let serve = || Error::io("serve", "the mount");
        self.views
            .mounted(number, fuse.try_clone().map_err(serve())?);
        let state = Arc::clone(self);
        let ended = move || state.ended(number, true);
        view::go_on(view, form, fuse, init, self.runtime.handle(), ended).map_err(serve())
    }

    /// Answers whatever is asked of a mount with EIO, until it is gone.
    pub(super) fn refuse(
        self: &Arc<Self>,
        number: u64,
        fuse: &OwnedFd,
        init: &FuseInit,
    ) -> Result<()> {
        let state = Arc::clone(self);
        let ended = move || {
            state.let_go(name_of_view(number));
            state.activity.view_closed();
        };
        self.activity.view_opened();
        view::refuse_all(fuse, init, ended)
            .inspect_err(|_| self.activity.view_closed())
            .map_err(Error::io("serve", "the mount"))
    }

    /// A mount is gone.
    fn ended(&self, number: u64, is_held: bool) {
        if is_held {
            self.let_go(name_of_view(number));
        }
        self.close(number);
    }

    /// Keeps the number of a mount that is not served yet, and counts it.
    pub(super) fn expect(&self, number: u64) {
        self.views.reserve(number);
        self.waiting.fetch_add(1, Relaxed);
    }

    /// A mount that was expected is served, or dead.
    pub(super) fn arrived(&self) {
        self.waiting.fetch_sub(1, Relaxed);
    }

    /// Deposits a descriptor with the supervisor for the next worker, in place of the one with that
    /// name.
    pub(super) fn hold(&self, name: String, item: &Item, fd: BorrowedFd<'_>) -> Result<()> {
        self.keeper.hold(name, item, fd)
    }

    /// Has the supervisor close a descriptor.
    pub(super) fn let_go(&self, name: String) {
        if let Err(error) = self.keeper.release(name) {
            tracing::debug!(
                "cannot close a descriptor: {}",
                crate::error::describe_chain(&error)
            );
        }
    }

    /// Prepares the execution of another program when this worker ends.
    pub(super) fn upgrade(&self, exe: std::path::PathBuf) -> Result<()> {
        self.keeper.upgrade(exe)
    }

    /// Whether a view is open.
    pub(super) fn has_view(&self, number: u64) -> bool {
        self.views.get(number).is_some()
    }

    /// Closes a view, and publishes its reads.
    pub(super) fn close(&self, number: u64) {
        // Said first, so that it is never neither open nor being published.
        self.activity.publishing();
        let Some(view) = self.views.remove(number) else {
            return self.activity.published();
        };
        self.activity.view_closed();
        if let Err(error) = self.runtime.block_on(traces::publish_news(&view.view)) {
            // Later jobs know less, that is all; a job that may only read comes here every time.
            let error = crate::error::describe_chain(&error);
            tracing::info!("cannot publish the access trace: {error}");
        }
        drop(view);
        self.tidy.soon(self.runtime.handle());
        self.activity.published();
    }

    /// Publishes the reads of one stack's views as the trace of another stack.
    pub(super) fn publish_trace(&self, from: &StackId, to: &StackId) -> Result<()> {
        for view in self.views.of_stack(from) {
            self.runtime.block_on(async {
                if from == to {
                    traces::publish_news(&view).await
                } else {
                    traces::publish_as(&view, to).await
                }
            })?;
        }
        self.settle();
        Ok(())
    }

    /// Waits, for a limited time, until ended views are closed and published.
    fn settle(&self) {
        self.activity
            .wait_until_settled(|| self.views.is_one_ending());
    }

    /// The reads of a stack through all of its views.
    pub(super) fn reads(&self, stack: &StackId) -> Result<Option<ReadReport>> {
        Ok(view::report_reads(&self.views.of_stack(stack))?)
    }

    /// Whether the daemon may end now.
    pub(super) fn may_stop(&self, force: bool) -> Result<()> {
        if force {
            return Ok(());
        }
        self.settle();
        let views = self.views.stats().len() + self.waiting.load(Relaxed);
        if views > 0 {
            let mounts = if views == 1 { "mount" } else { "mounts" };
            return Err(Error::usage(
                format!("the daemon serves {views} {mounts}"),
                Hint::UnmountBeforeStop,
            ));
        }
        Ok(())
    }

    pub(super) fn stats(&self) -> DaemonStats {
        let (traffic, reads) = self.remotes.stats();
        DaemonStats {
            pid: std::process::id(),
            supervisor: self.keeper.pid,
            restarts: self.restarts,
            waiting: self.waiting.load(Relaxed),
            version: crate::VERSION.to_owned(),
            uptime_seconds: self.started.elapsed().as_secs(),
            views: self.views.stats(),
            reads,
            restores: *self.restores.lock(),
            traffic,
            cache_bytes: self.cache.bytes(),
            cache_limit: self.cache.limit(),
        }
    }
}

fn unknown_view(view: u64) -> Error {
    Error::usage(format!("the daemon has no view {view}"), "restore again")
}
