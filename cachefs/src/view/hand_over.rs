//! Putting names and attributes of an image into the kernel's page cache before they are asked for.
//!
//! A message costs more than the bytes that it brings: waking a thread on another core takes as
//! long as decoding a frame of 256 KiB. Handing files over as well, those of a frame when one of
//! them is read, was measured and left out: it spared a third of the messages of a walk in an
//! unusual order, and no time.
//!
//! This has a thread of its own. Storing a page waits while a read of it is under way, and the
//! threads that answer reads must never wait for each other so.
//!
//! Source: `FUSE_NOTIFY_STORE` of the FUSE protocol.

use std::sync::mpsc::Receiver;

use fuser::Notifier;

use super::View;
use super::image_fs::IMAGE_INODE;

/// At most so much of inodes, and of directories, is handed over: the rest of a very large cache is
/// asked for as it is needed.
const METADATA: usize = 64 << 20;
/// Handed over at a time.
const PIECE: usize = 1 << 20;

/// Hands names and attributes over as soon as the kernel knows the image.
pub(super) fn push_metadata(view: &View, known: &Receiver<()>, notifier: &Notifier) {
    // An error means that the mount is gone before anything was read.
    let (Some(image), Ok(())) = (&view.image, known.recv()) else {
        return;
    };
    // Whoever asks for it is told of the error, and the log is.
    let Ok(metadata) = image.metadata(&view.stack) else {
        return;
    };
    for (start, bytes) in metadata {
        let bytes = &bytes[..bytes.len().min(METADATA)];
        for (piece, number) in bytes.chunks(PIECE).zip(0..) {
            let offset = start + number * PIECE as u64;
            if let Err(error) = notifier.store(IMAGE_INODE, offset, piece) {
                // Only slower: the kernel asks for what it was not given.
                return tracing::debug!("the page cache takes nothing: {error}");
            }
        }
    }
}
