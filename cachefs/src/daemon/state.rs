//! State that all connections of a daemon share, and the work behind the requests.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use cachefs_store::id::StackId;
use cachefs_store::index::Index;
use cachefs_store::local::{LayerCache, PackCache};
use cachefs_store::refs::{FoundKey, LayerInfo, MatchKind};
use cachefs_store::remote::{DynRemote, Meter, TrafficMeter};
use cachefs_store::restore::{FoundStack, check_usable};
use cachefs_store::stack::{Numbering, Stack};
use cachefs_store::trace::TraceRecorder;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tracing::Instrument as _;

use super::client_disconnect::unless_gone;
use super::fd_table::{Item, name_of_view};
use super::idle_exit::Activity;
use super::memory_trim::Tidy;
use super::prefetch;
use super::remote_pool::{RemoteHandle, Remotes};
use super::supervisor_channel::Keeper;
use super::traces::{self, Fetching};
use super::view_table::{OpenView, Views};
use crate::erofs;
use crate::error::{Error, RemoteFailure, Result};
use crate::paths::PathSet;
use crate::restore::find_parts;
use crate::rpc::{
    DaemonStats, FindRequest, OpenRequest, OpenedView, Prefetch, RestoreCounts, RestoreReply,
    RestoreRequest,
};
use crate::shares::Shares;
use crate::store_dir::StoreDir;
use crate::sys::crash_record;
use crate::sys::fuse_init::FuseInit;
use crate::view::{self, ReadNotes, ReadReport, View, ViewForm};
use cachefs_store::Hint;

/// A tree with more entries is not counted before a mount, which takes milliseconds.
const COUNTED_QUICKLY: u64 = 1 << 16;

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

    /// Finds and opens a stack for a client, until `is_gone` reports that the client has
    /// disconnected.
    pub(super) fn restore(
        &self,
        restore: &RestoreRequest,
        is_gone: &dyn Fn() -> bool,
    ) -> Result<RestoreReply> {
        let remote = self.remotes.get(
            &restore.shown.remote,
            restore.shown.deadline_ms,
            &self.cache,
        )?;
        // Other restores use the same connection at the same time, so each restore counts its
        // requests with a meter of its own.
        let meter = Arc::new(TrafficMeter::default());
        let counted: DynRemote =
            Arc::new(Meter::new(remote.open.remote.clone(), Arc::clone(&meter)));
        let found = self.runtime.block_on(unless_gone(is_gone, async {
            let found = FoundStack::resolve(&counted, &restore.wanted).await?;
            if found.is_miss() {
                return Ok::<_, Error>((found, Ok(None)));
            }
            // The trace of earlier jobs is fetched in parallel with the layers, and we do not wait
            // for it.
            let trace = traces::fetch_trace(&remote.reader, &found.layers, restore.shown.prefetch);
            let stack = self.stack(&counted, &found.layers, restore.shown.privileged);
            let stack = check_usable(&self.layers, &counted, &found.layers, stack.await).await?;
            Ok((found, stack.map(|stack| Some((stack, trace)))))
        }));
        let (mut found, opened) = found.map_err(|error| {
            self.restores.lock().failed += 1;
            RemoteFailure::after(&error, meter.traffic())
        })?;
        let (opened, lost) = match opened {
            Ok(opened) => (opened, None),
            Err(lost) => {
                found = found.into_miss();
                (None, Some(lost))
            }
        };
        if found.tree.is_none()
            && let Some((stack, _)) = &opened
        {
            // A tree that cannot be listed fails in its readers.
            found.tree = stack.totals(COUNTED_QUICKLY).ok().flatten();
        }
        let view = opened.map(|opened| {
            let open = OpenRequest {
                layers: found.layers.clone(),
                shown: restore.shown.clone(),
            };
            let number = self.views.number();
            self.open_view(number, Numbering::Dense, &remote, opened, open)
        });
        self.count(&found);
        Ok(RestoreReply {
            found,
            view,
            lost,
            traffic: meter.traffic(),
        })
    }

    /// Counts a restore by the match of its last key.
    fn count(&self, found: &FoundStack) {
        let mut restores = self.restores.lock();
        match found.last_match() {
            Some(MatchKind::Exact) => restores.exact += 1,
            Some(MatchKind::Prefix(_)) => restores.partial += 1,
            None if found.is_miss() => restores.missed += 1,
            None => restores.partial += 1,
        }
    }

    /// Finds the parts of keys, until `is_gone` says that nobody waits for them any more.
    pub(super) fn find(
        &self,
        find: &FindRequest,
        is_gone: &dyn Fn() -> bool,
    ) -> Result<Vec<Option<FoundKey>>> {
        let remote = self
            .remotes
            .get(&find.remote, find.deadline_ms, &self.cache)?;
        let paths = PathSet::of_names(&find.paths, find.places.clone())?;
        let parts = find_parts(&remote.open.remote, &find.wanted, &paths, &find.whole_from);
        self.runtime.block_on(unless_gone(is_gone, parts))
    }

    /// Creates a view of a known stack.
    ///
    /// # Errors
    ///
    /// Those of opening it, and [`Error::Lost`] if the remote lost a part of it.
    pub(super) fn open(&self, open: OpenRequest) -> Result<OpenedView> {
        let remote = self
            .remotes
            .get(&open.shown.remote, open.shown.deadline_ms, &self.cache)?;
        let opened = self.runtime.block_on(async {
            let trace = traces::fetch_trace(&remote.reader, &open.layers, open.shown.prefetch);
            let from = &remote.open.remote;
            let stack = self.stack(from, &open.layers, open.shown.privileged);
            let stack = check_usable(&self.layers, from, &open.layers, stack.await).await?;
            Ok::<_, Error>((stack.map_err(Error::Lost)?, trace))
        })?;
        let number = self.views.number();
        Ok(self.open_view(number, Numbering::Dense, &remote, opened, open))
    }

    /// Creates a view with a given number, for an existing mount. Even if the remote lost objects,
    /// the remaining ones are served.
    pub(super) fn open_as(
        &self,
        number: u64,
        numbering: Numbering,
        open: OpenRequest,
    ) -> Result<OpenedView> {
        let remote = self
            .remotes
            .get(&open.shown.remote, open.shown.deadline_ms, &self.cache)?;
        let (stack, trace) = self.runtime.block_on(async {
            let trace = traces::fetch_trace(&remote.reader, &open.layers, open.shown.prefetch);
            let stack = self.stack(&remote.open.remote, &open.layers, open.shown.privileged);
            Ok::<_, Error>((stack.await?, trace))
        })?;
        Ok(self.open_view(number, numbering, &remote, (stack, trace), open))
    }

    async fn stack(
        &self,
        remote: &DynRemote,
        layers: &[LayerInfo],
        privileged: bool,
    ) -> cachefs_store::Result<Stack> {
        let stack = Stack::new(self.layers.open(remote, layers).await?)?;
        Ok(match privileged {
            true => stack,
            false => stack.without_privileges(),
        })
    }

    fn open_view(
        &self,
        number: u64,
        numbering: Numbering,
        remote: &Arc<RemoteHandle>,
        (stack, trace): (Stack, Fetching),
        open: OpenRequest,
    ) -> OpenedView {
        let stack = stack.shown_as(open.shown.owner);
        // On a local disk, the order of reads does not matter.
        let is_noted = open.shown.trace && remote.reader.remote().local_dir().is_none();
        let at_work = crash_record::note_work(number);
        let image = match open.shown.form {
            ViewForm::Image => erofs::image_of(&stack, numbering),
            ViewForm::Tree => None,
        };
        let view = View {
            number,
            image,
            stack,
            numbering,
            reader: remote.reader.clone(),
            reads: ReadNotes::default(),
            recorder: is_noted.then(TraceRecorder::default),
            span: mount_span(number, &open),
        };
        let view = Arc::new(view);
        let form = match &view.image {
            Some(_) => {
                // It is laid out while the client makes the mounts.
                let view = Arc::clone(&view);
                self.runtime.spawn_blocking(move || {
                    let _at_work = crash_record::note_work(number);
                    if let Some(image) = &view.image {
                        // Readers of the image get the error.
                        let _ = image.build(&view.stack);
                    }
                });
                ViewForm::Image
            }
            None => ViewForm::Tree,
        };
        drop(at_work);
        let prefetch = self.prefetch(&view, trace, open.shown.prefetch);
        self.activity.view_opened();
        let open = Arc::new(open);
        self.views.insert(
            number,
            OpenView {
                view,
                open,
                remote: Arc::clone(remote),
                prefetch,
                fuse: None,
            },
        );
        OpenedView { view: number, form }
    }

    /// Starts fetching in the background. The lists are read there too, not on the way to a mount.
    fn prefetch(
        &self,
        view: &Arc<View>,
        trace: Fetching,
        wanted: Prefetch,
    ) -> Option<tokio::task::AbortHandle> {
        // Data on a local disk needs no fetching.
        if view.reader.remote().local_dir().is_some() {
            return None;
        }
        let view = Arc::clone(view);
        let span = view.span.clone();
        let run = async move {
            if let Err(error) = prefetch::run(&view, trace, wanted).await {
                tracing::warn!(
                    "prefetching stopped: {}",
                    crate::error::describe_chain(&error)
                );
            }
        };
        let task = self.runtime.spawn(run.instrument(span));
        Some(task.abort_handle())
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

/// A span that names a mount in log lines: its number, and the key and remote that it shows. Spans
/// have the level of errors, because a filter such as `warn` drops the context of spans below it.
fn mount_span(number: u64, open: &OpenRequest) -> tracing::Span {
    let key = open.layers.last().map(|layer| layer.key.as_str());
    tracing::error_span!(
        parent: None,
        "mount",
        number,
        key = key.unwrap_or_default(),
        remote = open.shown.remote.url
    )
}
