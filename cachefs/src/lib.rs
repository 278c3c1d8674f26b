//! Mounts caches: the daemon, its FUSE views, the overlays on top, and the work of the commands.
//!
//! A command opens a [`StoreDir`] and calls [`restore_path`](restore::restore_path),
//! [`save_path`](save::save_path), [`unmount_path`](mounts::unmount_path) or
//! [`import_archive`](save::import_archive). The [`daemon`] owns the index and serves mounts; it is
//! started on first use. Files are read, and mounts are made, in the command's own process, with
//! its rights and in its mount namespace.

pub mod containers;
pub mod daemon;
mod erofs;
mod error;
mod last_restore;
pub mod mounts;
pub mod paths;
pub mod restore;
mod rpc;
pub mod save;
pub mod shares;
mod store_dir;
pub mod sys;
mod unsaved_changes;
mod view;

pub use cachefs_store::remote::Spending;
pub use error::{Error, FailureKind, RemoteFailure, Result, describe_chain};
pub use last_restore::{LastRestore, Sought};
pub use rpc::{DaemonClient, DaemonStats, Prefetch, RestoreCounts, ViewStats};
pub use store_dir::StoreDir;
pub use unsaved_changes::{Unsaved, UnsavedAmount};
pub use view::{FrameTotals, ReadReport};

/// The version of this program; a command and its daemon must have the same.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
