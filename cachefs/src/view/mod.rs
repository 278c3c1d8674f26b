//! Views: stacks served to the kernel as read-only FUSE filesystems.

mod attr;
mod fs;
mod read;
mod session;

use std::sync::Arc;

use cachefs_store::local::FrameReader;
use cachefs_store::stack::Stack;

pub(crate) use session::serve;

/// A stack and the reader of its frames.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) stack: Stack,
    pub(crate) reader: FrameReader,
}

/// A view as its users share it.
pub(crate) type SharedView = Arc<View>;
