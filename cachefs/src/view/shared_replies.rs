//! Answers that both forms of a view share.

use std::sync::Arc;
use std::time::Duration;

use cachefs_store::Error;
use fuser::{Errno, InitFlags, KernelConfig, ReplyData, ReplyStatfs, Request};
use tokio::runtime::Handle;
use tracing::Instrument as _;

use super::{SharedView, View, file_read};
use crate::sys::crash_record;

/// How long the kernel may cache an answer: a layer never changes.
pub(super) const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The largest read the kernel is asked to make.
pub(super) const READ_AHEAD: u32 = 1 << 20;
/// Reads ahead that the kernel may have under way.
const BACKGROUND: u16 = 64;

thread_local! {
    static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Agrees on the protocol.
pub(super) fn negotiate_protocol(config: &mut KernelConfig, wanted: InitFlags) {
    let wanted = wanted | InitFlags::FUSE_ASYNC_READ;
    // Older kernels lack some; everything works without them, only slower.
    let _ = config.add_capabilities(wanted & config.capabilities());
    let _ = config
        .set_max_readahead(READ_AHEAD)
        .or_else(|most| config.set_max_readahead(most));
    let _ = config.set_max_background(BACKGROUND);
}

/// Converts a failure to an errno for the kernel, and logs its cause.
///
/// An outage is EIO and never "not found": a build would treat a missing file as a valid answer.
pub(super) fn errno_of(view: &View, what: &str, error: &Error) -> Errno {
    use std::error::Error as _;
    let mut causes = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push_str(": ");
        causes.push_str(&cause.to_string());
        source = cause.source();
    }
    view.span
        .in_scope(|| tracing::error!("{what} failed with EIO: {causes}"));
    Errno::EIO
}

/// Answers a read: at once from local data, later from the remote.
pub(super) fn answer_read(
    view: &SharedView,
    runtime: &Handle,
    request: &Request,
    plan: file_read::ReadPlan,
    reply: ReplyData,
) {
    if let Some(recorder) = &view.recorder {
        recorder.read(plan.frames());
    }
    view.reads.read(plan.files(), plan.frames());
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        match plan.read_local(view, buffer) {
            Ok(true) => reply.data(buffer),
            Ok(false) => {
                let view = Arc::clone(view);
                let number = request.unique().0;
                let span = tracing::error_span!(parent: &view.span, "read", request = number);
                let read = async move {
                    let _at_work = crash_record::note_work(view.number);
                    match plan.read(&view).await {
                        Ok(bytes) => reply.data(&bytes),
                        Err(error) => {
                            let what = format!("a read from {}", view.reader.remote().url());
                            reply.error(errno_of(&view, &what, &error));
                        }
                    }
                };
                runtime.spawn(read.instrument(span));
            }
            Err(error) => reply.error(errno_of(view, "read", &error)),
        }
    });
}

pub(super) fn answer_statfs(view: &View, reply: ReplyStatfs) {
    let layers = view.stack.layers();
    let summaries = layers.iter().map(|layer| layer.summary());
    let (bytes, files) = summaries.fold((0_u64, 0_u64), |(bytes, files), summary| {
        (
            bytes.saturating_add(summary.bytes),
            files.saturating_add(summary.entries),
        )
    });
    reply.statfs(bytes.div_ceil(4096), 0, 0, files, 0, 4096, 255, 4096);
}
