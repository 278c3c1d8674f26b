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

/// Writes a file under a temporary name and renames it into place.
///
/// Without fsync: everything kept here is verified when it is read, so a torn file after a power
/// failure is found and fetched again.
pub(crate) fn replace_file(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", crate::id::PackId::random()));
    let temporary = std::path::PathBuf::from(name);
    std::fs::write(&temporary, bytes)
        .and_then(|()| std::fs::rename(&temporary, path))
        .inspect_err(|_| {
            let _ = std::fs::remove_file(&temporary);
        })
}
