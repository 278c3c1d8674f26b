//! The registry protocol of the Open Container Initiative (distribution-spec 1.1), in a namespace.
//!
//! `docs/format/namespace.md` defines the names of blobs, manifests and tags. All repositories of a
//! namespace share their blobs. A blob is acknowledged once it is in the spool and synced; a
//! manifest or a tag, only once it and everything it refers to are in the remote.

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
