//! Requests to the kernel: mounts, descriptors, locks and processes.
//!
//! This module knows nothing of caches. Each file is one building block over `rustix`, `libc` or
//! `/proc`, takes plain paths and descriptors, and converts the kernel's errno into an error with
//! advice. `docs/mounting.md` describes the mounts that cachefs builds from these blocks, and the
//! reasons for their options.

pub mod container_volumes;
pub mod crash_record;
pub mod erofs_mount;
pub mod fdpass;
pub mod filesystem;
pub mod foreign_mount;
pub mod fuse_init;
pub mod fuse_mount;
pub mod kernel;
pub mod limits;
pub mod lock;
pub mod memory;
pub mod mount_error;
pub(crate) mod mount_id;
pub mod mount_liveness;
pub(crate) mod mount_namespace;
pub mod mount_users;
pub mod mountinfo;
pub mod namespace;
pub mod overlay;
pub mod ownership;
pub mod page_cache;
pub mod probe;
pub mod read_ahead;
pub mod remove_tree;
pub(crate) mod rooted_dir;
pub mod socket;
pub mod spawn;
pub mod unmount;
pub mod upper;
pub mod xattr;

pub use mount_error::MountError;
