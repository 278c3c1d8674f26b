//! Restoring a cache: finding the stack of a key, checking that the remote still has all of it, and
//! writing it as plain files. Mounts are made elsewhere, from the same stack.

mod availability;
mod copy_job;
mod found_stack;
mod rollback;

pub use availability::{check_usable, find_loss, without_lost_parts};
pub use copy_job::{CopyJob, CopyRequest, CopyTarget};
pub use found_stack::FoundStack;
pub use rollback::is_empty_directory;
