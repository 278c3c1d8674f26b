//! The store of cachefs: chunks, packs, layers, refs, remotes, and the local state that makes
//! them fast.
//!
//! From the bottom up, each module uses only those before it:
//!
//! - [`id`], [`error`]: names and failures;
//! - [`chunk`], [`frame`]: cutting files and compressing the pieces together;
//! - [`remote`]: object stores behind one trait;
//! - [`pack`], [`layer`]: the two kinds of immutable objects;
//! - [`stack`]: layers on top of each other, seen as one tree;
//! - [`refs`]: keys that name stacks, and how they are published;
//! - [`index`]: the local database that makes deduplication a look-up;
//! - [`local`]: frames and layers kept on the local disk, and the reader on top of them;
//! - [`trace`]: which frames jobs read, in what order, and those frames in one object;
//! - [`secrets`]: the search for credentials that must not be in a cache;
//! - [`progress`]: counts of long work, for callers to show;
//! - [`save`]: from files to a published record;
//! - [`copy`]: from a stack to plain files;
//! - [`archive`]: from a tar archive to a tree that is saved, and from a stack to one;
//! - [`session`]: an open remote with the local copies, which all commands start from;
//! - [`export`]: from a key to a tar archive;
//! - [`check`]: whether everything that a key needs is there and intact;
//! - [`gc`]: removing what no key needs any more.
//!
//! Formats are documented in `docs/format/`.

pub mod archive;
pub mod check;
pub mod chunk;
pub mod copy;
pub mod error;
mod error_kind;
pub mod export;
pub mod frame;
pub mod gc;
pub mod hint;
pub mod id;
pub mod index;
pub mod layer;
pub mod local;
pub mod pack;
mod parallel;
pub mod path_globs;
mod path_limit;
pub mod progress;
pub mod refs;
pub mod remote;
pub mod replace_file;
pub mod repository;
pub mod resolve_beneath;
pub mod restore;
pub mod save;
pub mod secrets;
pub mod session;
pub mod stack;
mod task;
pub mod trace;

pub use error::{Error, ErrorKind, Result};
pub use hint::Hint;
