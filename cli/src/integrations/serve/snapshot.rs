//! The tree of a key, as one of its saves left it.

use std::sync::Arc;

use cachefs::Error;
use cachefs_store::layer::Layer;
use cachefs_store::local::FrameReader;
use cachefs_store::session::Session;
use cachefs_store::stack::Stack;

/// A tree, and the reader of its frames. It stays valid when the key is saved again.
pub(super) struct Snapshot {
    pub(super) stack: Stack,
    pub(super) reader: FrameReader,
}

impl Snapshot {
    pub(super) fn new(session: &Session, layers: Vec<Arc<Layer>>) -> Result<Self, Error> {
        let stack = Stack::new(layers)?;
        Ok(Self {
            reader: session.frame_reader(&stack)?,
            stack,
        })
    }
}
