//! The conversation between commands and the daemon, over a Unix socket in the store directory.
//!
//! One request, one answer, in the framing of [`crate::sys::fdpass`]: a JSON header, and a binary
//! payload where there is bulk. Documented in `docs/format/rpc.md`.

mod client;
mod index;
mod message;

pub use client::Client;
pub(crate) use index::{IndexOverSocket, decode_ids, encode_indexed};
pub(crate) use message::{
    Answer, Envelope, Find, Open, OpenedView, Reply, Request, Restore, Restored, Shown,
};
pub use message::{DaemonStats, Prefetch, RestoreCounts, ViewStats};
