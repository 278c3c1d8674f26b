//! Reads files and compares every byte.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cachefs_store::id::ChunkId;
use rustix::fs::{Advice, fadvise};

use super::end::is_over;
use super::mount_slots::{Expected, Slots, SoakMount};
use super::tally::Tally;

/// Reads random files of random mounts until the soak ends.
pub(super) fn read_mounts(slots: &Slots, tally: &Tally, seed: u64, stop: &AtomicBool) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut buffer = Vec::new();
    while !is_over(stop) {
        let slot = &slots.0[random.usize(..slots.0.len())];
        // Do not wait for a mount that is being replaced; read another.
        let Ok(shown) = slot.shown.try_read() else {
            std::thread::yield_now();
            continue;
        };
        let expected = pick_file(&shown, &mut random);
        let forget = random.bool();
        let started = Instant::now();
        let checked = check_file(&slot.path, expected, forget, &mut buffer);
        let took = started.elapsed().as_micros() as u64;
        tally.longest.fetch_max(took, Relaxed);
        match checked {
            Ok(()) => {
                tally.files.fetch_add(1, Relaxed);
                tally.bytes.fetch_add(buffer.len() as u64, Relaxed);
            }
            Err(error) => tally.failed(&error),
        }
    }
}

/// Picks a changed file half of the time, otherwise any file.
fn pick_file<'a>(shown: &'a SoakMount, random: &mut fastrand::Rng) -> &'a Expected {
    let changed = &shown.changed;
    if !changed.is_empty() && random.bool() {
        return &changed[random.usize(..changed.len())];
    }
    let expected = &shown.base[random.usize(..shown.base.len())];
    let other = changed.iter().find(|other| other.path == expected.path);
    other.unwrap_or(expected)
}

/// Reads a file and compares its hash. With `forget`, the file is then dropped from the page cache,
/// so that the next read reaches the daemon.
fn check_file(root: &Path, expected: &Expected, forget: bool, buffer: &mut Vec<u8>) -> Result<()> {
    let path = root.join(&expected.path);
    let shown = || path.display().to_string();
    buffer.clear();
    let mut file = File::open(&path).with_context(shown)?;
    file.read_to_end(buffer).with_context(shown)?;
    ensure!(
        ChunkId::of(buffer) == expected.hash,
        "{} has other bytes than were saved",
        shown()
    );
    if forget {
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}
