//! Tar archives: read as a tree that is saved, written from a stack.
//!
//! Nothing is unpacked. A reader takes the archive's members as they come: names and attributes
//! go into a tree in memory, the bytes of files straight to the workers that cut, hash and
//! compress. So an archive needs no room on the disk, attributes need no privilege, and a hostile
//! one has no file system that it could write to: names are only ever compared.
//!
//! Read are ustar, PAX and GNU members, with long names, sparse files in all four forms and
//! hard links, plain or compressed with gzip or zstd. Written is PAX, the same bytes for the same
//! stack.

mod compression;
mod error;
mod failure;
mod header;
mod layout;
mod members;
mod names;
mod pax;
mod read;
mod sparse;
mod tree;
mod write;

#[cfg(test)]
mod tests;

pub use compression::{Compression, compress_stream, decompress_stream};
pub use error::ArchiveError;
pub use layout::{TarLayout, TarRange, TarSegment};
pub use names::Names;
pub(crate) use read::read_archive;
pub use read::{ReadOptions, first_name};
pub use write::{WriteOptions, Written, write_archive};
