//! `cachefs serve`: protocols of build tools, in namespaces of a remote.

mod content;
mod listener;
mod namespace;
mod oci;
mod server;
mod spool;

pub(crate) use listener::ListenAddress;
pub(crate) use namespace::{Namespace, NamespaceOptions};
pub(crate) use server::serve_registry;
