//! Finding stacks and opening views of them.

use std::sync::Arc;

use cachefs_store::refs::{FoundKey, LayerInfo, MatchKind};
use cachefs_store::remote::{DynRemote, Meter, TrafficMeter};
use cachefs_store::restore::{FoundStack, check_usable};
use cachefs_store::stack::{Numbering, Stack};
use cachefs_store::trace::TraceRecorder;
use tracing::Instrument as _;

use super::DaemonState;
use crate::daemon::client_disconnect::unless_gone;
use crate::daemon::remote_pool::RemoteHandle;
use crate::daemon::traces::Fetching;
use crate::daemon::view_table::OpenView;
use crate::daemon::{prefetch, traces};
use crate::erofs;
use crate::error::{Error, RemoteFailure, Result};
use crate::paths::PathSet;
use crate::restore::find_parts;
use crate::rpc::{FindRequest, OpenRequest, OpenedView, Prefetch, RestoreReply, RestoreRequest};
use crate::sys::crash_record;
use crate::view::{ReadNotes, View, ViewForm};

/// A tree with more entries is not counted before a mount, which takes milliseconds.
const COUNTED_QUICKLY: u64 = 1 << 16;

impl DaemonState {
    /// Finds and opens a stack for a client, until `is_gone` reports that the client has
    /// disconnected.
    pub(in crate::daemon) fn restore(
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
    pub(in crate::daemon) fn find(
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
    pub(in crate::daemon) fn open(&self, open: OpenRequest) -> Result<OpenedView> {
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
    pub(in crate::daemon) fn open_as(
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
