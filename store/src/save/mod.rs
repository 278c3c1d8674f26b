//! Saves the files of a path, or of an archive, as a published record.
//!
//! [`Session::save`](crate::session::Session::save) starts a save, and [`SaveJob`] owns the order
//! of its steps, which the module `job` describes.
//!
//! Packing is a pipeline with bounded memory. A scan returns the tree in path order, and its files
//! are cut into batches. Each worker reads, cuts, hashes, looks up and compresses a batch. Frames
//! are put into packs in path order and stored in parallel. Then the tree is compared with the
//! stack below it, and the difference becomes the layer. A pure plan computes the key's new stack.
//!
//! Files are read with the rights and in the process of the caller. The index and the remote are
//! reached only through [`Target`](target::Target): a daemon behind a socket, or a store in the
//! same process.

mod batch;
mod batch_part;
mod change;
mod changed_paths;
mod commit;
mod delta;
mod dry_target;
pub mod exclude;
mod file_list;
mod file_stamp;
mod files;
mod gathered;
mod hard_links;
pub mod import;
mod job;
mod layer;
mod moved_files;
mod overlay_redirects;
pub mod packed_path;
mod pipeline;
mod publication;
pub mod reading;
mod report;
mod request;
mod saved_owner;
mod scan;
mod secret_guard;
mod seen;
mod shrinkage;
pub mod source;
pub mod store_target;
pub mod target;
mod tree;
mod unstable_files;
mod xattrs;

pub(crate) use batch::{BATCH_BYTES, BATCH_FILES, BatchChunk, ReadBatch, ReadPart, cut_stretch};
pub(crate) use batch_part::BatchPart;
pub use changed_paths::PathChange;
pub use commit::StoredSave;
pub(crate) use files::note_content;
pub use gathered::GatheredRanges;
pub use job::{OpenedSave, SaveJob};
pub(crate) use pipeline::{Packed, ReadBatches, Supply, pack_supply};
pub use report::{SaveOutcome, SaveReport};
pub use request::{Existing, SaveRequest};
pub(crate) use tree::{FileContent, FileNode, FileTree, NodeKind, Stamp};
