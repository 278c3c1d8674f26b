//! The registry protocol of the Open Container Initiative (distribution-spec 1.1), in a namespace.
//!
//! `docs/format/namespace.md` has the names under which blobs, manifests and tags are kept. Blobs
//! are shared by all repositories of a namespace. A blob is acknowledged once it is in the spool
//! and synced; a manifest or a tag, only when it and everything it refers to are in the remote.

mod answers;
mod entry_names;
mod error;
mod handlers;
mod manifests;
mod names;
mod range;
mod registry;
mod repository;
mod requests;
mod uploads;

pub(crate) use registry::Registry;
