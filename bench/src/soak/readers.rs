//! Reading, and comparing every byte.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cachefs_store::id::ChunkId;
use rustix::fs::{Advice, fadvise};

use super::is_over;
use super::mount_slots::{Expected, Slots, SoakMount};
use crate::measure::Unit;
use crate::report::ReportSection;

/// So many failures are told; the others are counted.
const TOLD: usize = 5;

/// What was done so far, by all.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) files: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) remounts: AtomicU64,
    pub(super) saves: AtomicU64,
    pub(super) errors: AtomicU64,
    /// Workers that were killed.
    pub(super) kills: AtomicU64,
    /// The longest time that opening, reading and comparing one file took, in microseconds.
    longest: AtomicU64,
    told: Mutex<Vec<String>>,
}

impl Tally {
    /// Counts a failure.
    pub(super) fn failed(&self, error: &anyhow::Error) {
        self.errors.fetch_add(1, Relaxed);
        // The list is whole after every statement that changes it.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD {
            told.push(format!("{error:#}"));
        }
    }

    /// The first failures.
    pub(super) fn complaints(&self) -> Vec<String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }

    /// Says how much was done.
    pub(super) fn describe(&self, section: &mut ReportSection) {
        let bytes = Unit::Bytes.show(self.bytes.load(Relaxed) as f64);
        let files = self.files.load(Relaxed);
        section.fact(
            "read",
            format!("{bytes} in {files} files, every byte compared"),
        );
        section.fact("remounts", self.remounts.load(Relaxed).to_string());
        section.fact("saves", self.saves.load(Relaxed).to_string());
        let longest = self.longest.load(Relaxed) as f64 / 1e6;
        section.fact("longest read", Unit::Seconds.show(longest));
        section.fact("workers killed", self.kills.load(Relaxed).to_string());
        section.fact("errors", self.errors.load(Relaxed).to_string());
    }
}

/// Reads one file after the other, of any mount, until the time is over.
pub(super) fn read_mounts(slots: &Slots, tally: &Tally, seed: u64, stop: &AtomicBool) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut buffer = Vec::new();
    while !is_over(stop) {
        let slot = &slots.0[random.usize(..slots.0.len())];
        // One that is being remounted is not waited for: the others are read meanwhile.
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

/// Any file; one that was changed every other time.
fn pick_file<'a>(shown: &'a SoakMount, random: &mut fastrand::Rng) -> &'a Expected {
    let changed = &shown.changed;
    if !changed.is_empty() && random.bool() {
        return &changed[random.usize(..changed.len())];
    }
    let expected = &shown.base[random.usize(..shown.base.len())];
    let other = changed.iter().find(|other| other.path == expected.path);
    other.unwrap_or(expected)
}

/// Reads a file and compares it; `forget` has the kernel read it anew next time.
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
