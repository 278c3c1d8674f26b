//! The conversation between commands and the daemon, over a Unix socket in the store directory.
//!
//! One request, one reply, in the framing of [`crate::sys::fdpass`]: a JSON header, and a binary
//! payload where there is bulk. [`request`] lists the requests with the types of their replies.
//! Documented in `docs/format/rpc.md`.

mod client;
mod index;
mod message;
mod request;

pub use client::DaemonClient;
pub(crate) use index::{IndexOverSocket, decode_ids, encode_indexed};
pub use message::{DaemonStats, Prefetch, RestoreCounts, ViewStats};
pub(crate) use message::{OpenedView, RestoreReply, ViewOrigin};
#[cfg(test)]
pub(crate) use request::NamedPack;
pub(crate) use request::{
    AllowedRequest, CloseRequest, Envelope, FindRequest, HasPackRequest, InsertRequest,
    LookupRequest, OpenRequest, PublishTraceRequest, ReadsRequest, RemovePackRequest, Request,
    RestoreRequest, RpcReply, RpcRequest, ServeRequest, ShareRequest, SharesRequest, StatsRequest,
    StopRequest, UnshareRequest, UpgradeReply, UpgradeRequest,
};
