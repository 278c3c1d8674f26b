//! The tree of a key at one of its saves.

use std::sync::Arc;

use cachefs::Error;
use cachefs_store::layer::Layer;
use cachefs_store::local::FrameReader;
use cachefs_store::session::Session;
use cachefs_store::stack::Stack;

/// A tree with a reader of its frames. It stays valid when the key is saved again.
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
