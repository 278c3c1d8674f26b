//! The conversation between commands and the daemon, over a Unix socket in the store directory.
//!
//! One request, one answer, in the framing of [`crate::sys::fdpass`]: a JSON header, and a binary
//! payload where there is bulk. Documented in `docs/format/rpc.md`.

mod client;
mod index;
mod message;

pub use client::DaemonClient;
pub(crate) use index::{IndexOverSocket, decode_ids, encode_indexed};
pub use message::{DaemonStats, Prefetch, RestoreCounts, ViewStats};
pub(crate) use message::{
    Envelope, Find, OpenRequest, OpenedView, Reply, RestoreReply, RestoreRequest, RpcReply,
    RpcRequest, ViewOrigin,
};
