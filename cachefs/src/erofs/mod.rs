//! A stack as an EROFS image: one read-only file that the kernel's own filesystem understands.
//!
//! A FUSE filesystem pays for every directory and every small file with a message to the daemon,
//! and each costs two wake-ups. The kernel can mount EROFS from any file, so a view serves one
//! file, the image, and the kernel walks it by itself: names and attributes are pages of that file,
//! which the daemon pushes to the page cache at once. Files are adjacent, so the kernel's
//! read-ahead covers many small ones with one read.
//!
//! The image is never written anywhere. Its metadata is made in memory from the layers; its data
//! is an address space, in which every file has its place, and whose blocks are read from frames
//! when the kernel asks for them. The layout is a pure function of the stack.
//!
//! Source of the format: the kernel's `fs/erofs/erofs_fs.h` and its documentation of EROFS.

mod build;
mod directory;
mod format;
mod image;
#[cfg(test)]
mod tests;
mod xattr;

pub(crate) use image::{Image, ImageRange};

use cachefs_store::stack::{Numbering, Stack};

/// The largest number of entries of an image. Each takes about 180 bytes of memory, so 720 MB.
const MAX_ENTRIES: u64 = 4_000_000;

/// Whether a stack can be shown as an image without loss.
///
/// A file with holes has no holes in an image (their blocks would be counted), so stacks with such
/// files are served file by file. So are stacks with more than [`MAX_ENTRIES`]: the whole image of
/// names and attributes is in memory.
fn suits_image(stack: &Stack) -> bool {
    let counts = stack
        .layers()
        .iter()
        .map(|layer| u64::from(layer.entry_count()));
    !stack.has_sparse_files() && counts.sum::<u64>() <= MAX_ENTRIES
}

/// The image of a stack; `None` when it cannot be shown as one without loss.
pub(crate) fn image_of(stack: &Stack, numbering: Numbering) -> Option<Image> {
    if !suits_image(stack) {
        return None;
    }
    let image = Image::new(stack, numbering);
    let outcome = match &image {
        // Whether all attributes have a place in it shows when it is laid out.
        Ok(image) if stack.has_xattrs() => image.build(stack),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        tracing::info!("no image: {error}");
        return None;
    }
    image.ok()
}
