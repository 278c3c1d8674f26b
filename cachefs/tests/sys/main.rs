//! The kernel-facing blocks against a real kernel: mounts, namespaces and processes.
//!
//! Tests that the kernel of the machine does not allow are skipped, with a message.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod children;
mod fuse;
mod guard;
mod overlay;
mod overlay_over_fuse;
mod probe;
mod spawn;
mod tinyfs;
mod unmount;
mod upper;
mod userns;
