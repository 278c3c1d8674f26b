//! Access traces: the frames that jobs read from a stack, in the order in which they first did.
//!
//! A build reads only a small part of a cache, and the next build of the same kind reads nearly the
//! same part. So a trace is published beside the stack, together with a copy of these frames: the
//! next restore fetches with one request most frames that its job will read. A trace is only a
//! hint. Every frame in it has a hash and must be a frame of the stack, at the same place. A trace
//! that is old, damaged or forged costs one request and nothing else. The byte layout is in
//! `docs/format/trace.md`.

mod format;
mod recorder;
mod remote;

pub use format::{Trace, TraceEntry};
pub use recorder::TraceRecorder;
pub use remote::{FetchedTrace, fetch_trace, publish_trace, trace_packs};

use crate::id::StackId;
use crate::remote::ObjectKey;

/// Stored bytes of frames that an object carries at most; those that are read first.
pub const MAX_BUNDLE: u64 = 32 << 20;

/// A frame that this many consecutive published runs did not read is dropped.
pub const MAX_IDLE: u8 = 8;

/// The largest number of frames in a trace; bounds the allocation of readers.
pub const MAX_FRAMES: usize = 1 << 17;

/// The largest trace object in bytes, with its list and its bundled frames.
pub const MAX: u64 = 40 << 20;

/// The object that holds the trace of a stack.
pub fn object_key(stack: &StackId) -> ObjectKey {
    let hex = stack.to_string();
    ObjectKey::new(format!("traces/{}/{hex}", &hex[..2]))
}
