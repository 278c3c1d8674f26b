//! The local disk's part: frames and layers that are kept, and the reader that finds a frame
//! wherever it is.

mod cache;
mod eviction;
mod layers;
mod lost_packs;
mod memory;
mod pack_files;
mod reader;
mod recent_failures;
mod remote_dir;

pub use cache::{Mirror, PackCache};
pub use layers::LayerCache;
pub(crate) use layers::fetch_layer;
pub use lost_packs::LostPacks;
pub use memory::FrameMemory;
pub use pack_files::PackFiles;
pub use reader::{FrameReader, ReadStats};
