//! The state of a registry.

use std::sync::Arc;

use super::uploads::UploadTable;
use crate::integrations::serve::namespace::Namespace;

/// A registry in a namespace.
pub(crate) struct Registry {
    pub(super) namespace: Arc<Namespace>,
    pub(super) uploads: UploadTable,
}

impl Registry {
    /// A registry without uploads.
    pub(crate) fn new(namespace: Arc<Namespace>) -> Self {
        Self {
            namespace,
            uploads: UploadTable::default(),
        }
    }
}
