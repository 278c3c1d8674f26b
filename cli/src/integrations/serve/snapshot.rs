//! The tree of a key, as one of its saves left it.

use std::sync::Arc;

use cachefs::Error;
use cachefs_store::layer::{Layer, mode};
use cachefs_store::local::FrameReader;
use cachefs_store::session::Session;
use cachefs_store::stack::Stack;

use super::content::Content;

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

    pub(super) fn find_file(self: &Arc<Self>, name: &str) -> Result<Option<Content>, Error> {
        let Some(ino) = self.stack.find(name.as_bytes())? else {
            return Ok(None);
        };
        let attr = self.stack.attr(ino)?;
        Ok((attr.kind() == mode::FILE).then(|| Content::Stored {
            snapshot: Arc::clone(self),
            ino,
            size: attr.size,
        }))
    }
}
