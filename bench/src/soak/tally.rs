//! Counters of a soak.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use crate::measure::Unit;
use crate::report::ReportSection;

/// Failures that appear in the report; further ones are only counted.
const TOLD: usize = 5;

/// Totals over all threads.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) files: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) remounts: AtomicU64,
    pub(super) saves: AtomicU64,
    pub(super) errors: AtomicU64,
    /// Workers that were killed.
    pub(super) kills: AtomicU64,
    /// The longest time to open, read and compare one file, in microseconds.
    pub(super) longest: AtomicU64,
    told: Mutex<Vec<String>>,
}

impl Tally {
    /// Counts a failure.
    pub(super) fn failed(&self, error: &anyhow::Error) {
        self.errors.fetch_add(1, Relaxed);
        // Every statement leaves the list consistent, so a poisoned lock is safe to use.
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

    /// Adds the totals to the section.
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
