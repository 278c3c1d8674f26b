//! Tests of mounts, namespaces and processes against a real kernel.
//!
//! Tests skip features that the machine's kernel does not allow, and print a line that says so.

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
