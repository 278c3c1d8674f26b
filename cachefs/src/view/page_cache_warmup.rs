//! Puts names and attributes of an image into the kernel's page cache before they are requested.
//!
//! A message costs more than its bytes: waking a thread on another core takes as long as decoding a
//! frame of 256 KiB. We measured pushing file data as well, namely all files of a frame when one of
//! them is read, and left it out: it saved a third of the messages of a walk in an unusual order,
//! but no time.
//!
//! This runs in a thread of its own. Storing a page waits while a read of it is in progress, and
//! the threads that answer reads must never wait for each other.
//!
//! Source: `FUSE_NOTIFY_STORE` of the FUSE protocol.

use std::sync::mpsc::Receiver;

use fuser::Notifier;

use super::View;
use super::image_fs::IMAGE_INODE;

/// Limit for each of inodes and directories. The rest of a very large cache is requested on demand.
const METADATA: usize = 64 << 20;
/// Bytes that are pushed at a time.
const PIECE: usize = 1 << 20;

/// Pushes names and attributes as soon as the kernel knows the image.
pub(super) fn push_metadata(view: &View, known: &Receiver<()>, notifier: &Notifier) {
    // An error means that the mount is gone before anything was read.
    let (Some(image), Ok(())) = (&view.image, known.recv()) else {
        return;
    };
    // The error is logged, and returned to the reads that need the image.
    let Ok(metadata) = image.metadata(&view.stack) else {
        return;
    };
    for (start, bytes) in metadata {
        let bytes = &bytes[..bytes.len().min(METADATA)];
        for (piece, number) in bytes.chunks(PIECE).zip(0..) {
            let offset = start + number * PIECE as u64;
            if let Err(error) = notifier.store(IMAGE_INODE, offset, piece) {
                // This only costs time: the kernel requests the missing pages.
                return tracing::debug!("the page cache takes nothing: {error}");
            }
        }
    }
}
