//! Views: stacks served to the kernel as read-only FUSE filesystems.
//!
//! A view has one of two forms. As an image it has one file, which the kernel mounts as EROFS; as
//! a tree it has the stack's own files. See [`ViewForm`].

mod attr;
mod failing_fs;
mod file_read;
mod image_fs;
mod page_cache_warmup;
mod read_counters;
mod session;
mod shared_replies;
mod tree_fs;

use std::sync::Arc;

use cachefs_store::local::FrameReader;
use cachefs_store::stack::{Numbering, Stack};
use cachefs_store::trace::TraceRecorder;
use serde::{Deserialize, Serialize};

pub use read_counters::{FrameTotals, ReadReport};
pub(crate) use read_counters::{ReadNotes, report_reads};
pub(crate) use session::{begin_session, go_on, refuse_all};

use crate::erofs::Image;

/// Name of the only file of a view that is an image.
pub(crate) const IMAGE: &str = "image";

/// Form in which the kernel sees a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ViewForm {
    /// The stack's files. Works wherever FUSE works.
    Tree,
    /// The image of the stack, to be mounted as EROFS: for the root of the machine, on Linux 6.12
    /// and later.
    Image,
}

/// A stack and the reader of its frames.
#[derive(Debug)]
pub(crate) struct View {
    /// Number of the view in the daemon.
    pub(crate) number: u64,
    pub(crate) stack: Stack,
    /// By which numbers its kernel knows the files.
    pub(crate) numbering: Numbering,
    pub(crate) reader: FrameReader,
    /// Its image, if it can have one.
    pub(crate) image: Option<Image>,
    /// Notes reads, for `explain`.
    pub(crate) reads: ReadNotes,
    /// Notes reads, if they are to be published.
    pub(crate) recorder: Option<TraceRecorder>,
    /// Names the mount in log lines.
    pub(crate) span: tracing::Span,
}

/// A view as its users share it.
pub(crate) type SharedView = Arc<View>;
