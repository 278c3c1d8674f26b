//! Counts of a soak.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

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
    pub(super) longest: AtomicU64,
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
