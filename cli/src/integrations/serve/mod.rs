//! `cachefs serve`: protocols of build tools, backed by namespaces of a remote.

mod archive;
mod content;
mod listener;
mod namespace;
mod oci;
mod server;
mod snapshot;
mod spool;

pub(crate) use listener::ListenAddress;
pub(crate) use namespace::{Namespace, NamespaceOptions};
pub(crate) use server::serve_registry;
