//! Saving: from files to a published layer.
//!
//! A save is a pipeline with bounded memory. A scan gives the tree in path order; its files are
//! cut into batches; each worker takes a batch through reading, cutting, hashing, looking up and
//! compressing; frames are put into packs in path order and written while the work goes on. Then
//! the tree is compared with the stack it is a change of, and what differs becomes the layer.
//!
//! The pipeline reads files with the caller's own rights, in the caller's process, and reaches the
//! index and the remote only through [`Target`]: a daemon behind a socket, or a store in the same
//! process.

mod batch;
mod delta;
mod exclude;
mod graft;
mod guard;
mod layer;
mod links;
mod owner;
mod pipeline;
mod progress;
mod scan;
mod seen;
mod settle;
mod store_target;
mod target;
mod tree;
mod xattrs;

pub(crate) use batch::{
    BATCH_BYTES, BATCH_FILES, BatchChunk, BatchPart, ReadBatch, ReadPart, cut_stretch,
};
pub use delta::{Baseline, Delta, MissingEntries, diff_tree};
pub use exclude::{Everything, Exclude, remove_excluded};
pub use graft::graft_redirects;
pub use guard::Guard;
pub use layer::build_layer;
pub use links::{Moved, diff_links};
pub use owner::give_back;
pub use pipeline::{Packed, pack_changing_files, pack_files};
pub(crate) use pipeline::{ReadBatches, Supply, note_parts, pack_supply};
pub use progress::{Progress, Silent};
pub use scan::{
    Mark, PlainFiles, Reading, Scanned, Skipped, confirm_unchanged, scan_settled, scan_tree,
};
pub use seen::Seen;
pub use store_target::StoreTarget;
pub use target::Target;
pub use tree::{FileContent, FileNode, FileTree, NodeKind, Pieces, Stamp};
