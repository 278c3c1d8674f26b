//! Access traces: the frames that jobs read from a stack, in the order in which they first did.
//!
//! What a build reads of a cache is little, and the next build of the same kind reads nearly the
//! same. So a trace is published beside the stack, and with it a copy of the frames themselves,
//! one behind the other: the next restore gets with one request what the job will ask for. A trace
//! is advice. Every frame in it has a hash and must be one of the stack's, in the same place; a trace
//! that is old, damaged or forged costs one request and nothing more. The byte layout is in
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

/// A frame that so many published runs in a row did not read is dropped.
pub const MAX_IDLE: u8 = 8;

/// No trace lists more frames: bounds what a reader allocates.
pub const MAX_FRAMES: usize = 1 << 17;

/// No trace object is larger: its list and what it carries of frames.
pub const MAX: u64 = 40 << 20;

/// The object that holds the trace of a stack.
pub fn object_key(stack: &StackId) -> ObjectKey {
    let hex = stack.to_string();
    ObjectKey::new(format!("traces/{}/{hex}", &hex[..2]))
}
