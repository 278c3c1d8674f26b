//! Judges whether a daemon survived the load without leaks or errors.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use super::daemon_figures::{Figures, Sampled};
use super::tally::Tally;
use crate::measure::{Samples, Unit};
use crate::report::Table;

/// Fraction of the time that counts as warm-up, while bounded caches fill and thread pools grow.
const WARM_UP: f64 = 0.2;
/// Allowed growth after the warm-up, as noise; memory is in bytes.
const MEMORY: f64 = 16e6;
const DESCRIPTORS: f64 = 12.0;
const THREADS: f64 = 12.0;
/// Maximum number of open files: the cache limits are 256 packs and 128 index tables, plus other
/// index files.
const FILES: f64 = 400.0;
/// Alternative limit for memory and threads, as a fraction of the early value; the larger limit
/// applies. With kills, some samples come from a freshly started worker, whose usage is low.
const SHARE: f64 = 0.1;

/// Fraction of the memory that may remain after all unmounts, in bounded caches and in the
/// allocator.
const LEFT: f64 = 0.5;
/// Alternative limit for the remaining memory, in bytes; the larger one applies. The bounded caches
/// alone may use this much.
const LEFT_AT_LEAST: f64 = 64e6;

/// A figure early and late in the run.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Growth {
    early: f64,
    late: f64,
    bound: f64,
}

impl Growth {
    /// Compares the medians of the first and last third of the samples after the warm-up.
    fn of(sampled: &Sampled, value: fn(&Figures) -> f64, bound: f64, share: f64) -> Self {
        let end = sampled.seconds.last().copied().unwrap_or(0.0);
        let warm = sampled.seconds.iter().zip(&sampled.figures);
        let values: Vec<_> = warm
            .filter(|(time, _)| **time >= end * WARM_UP)
            .map(|(_, figures)| value(figures))
            .collect();
        let third = values.len().div_ceil(3);
        let median = |values: &[f64]| {
            let samples: Samples = values.iter().copied().collect();
            samples.summary().map_or(0.0, |summary| summary.median)
        };
        let early = median(&values[..third]);
        Self {
            early,
            late: median(&values[values.len() - third..]),
            bound: bound.max(early * share),
        }
    }

    fn is_good(self) -> bool {
        self.late - self.early <= self.bound
    }
}

/// The result of a soak.
#[derive(Debug)]
pub(super) struct Verdict {
    memory: Growth,
    descriptors: Growth,
    threads: Growth,
    /// Maximum number of cached open files.
    files: f64,
    errors: u64,
    /// Mounts that remained after all unmounts.
    left: f64,
    /// Memory that remained after all unmounts, in bytes.
    kept: f64,
    /// Whether the daemon process is still the original one.
    is_same: bool,
}

impl Verdict {
    /// Computes the verdict.
    pub(super) fn of(sampled: &Sampled, left: &Figures, tally: &Tally, is_same: bool) -> Self {
        Self {
            memory: Growth::of(sampled, |figures| figures.memory, MEMORY, SHARE),
            descriptors: Growth::of(sampled, |figures| figures.descriptors, DESCRIPTORS, 0.0),
            threads: Growth::of(sampled, |figures| figures.threads, THREADS, SHARE),
            files: sampled
                .figures
                .iter()
                .map(|figures| figures.files)
                .fold(0.0, f64::max),
            errors: tally.errors.load(Relaxed),
            left: left.mounts,
            kept: left.memory,
            is_same,
        }
    }

    /// Whether all checks passed.
    pub(super) fn is_good(&self) -> bool {
        let growths = [self.memory, self.descriptors, self.threads];
        self.errors == 0
            && self.left == 0.0
            && self.is_same
            && self.files <= FILES
            && !self.keeps_too_much()
            && growths.into_iter().all(Growth::is_good)
    }

    fn keeps_too_much(&self) -> bool {
        self.kept > LEFT_AT_LEAST.max(self.memory.late * LEFT)
    }

    /// The table of figures behind the verdict.
    pub(super) fn table(&self, left: &Figures) -> Table {
        let columns = [
            ("memory", Unit::Bytes),
            ("descriptors", Unit::Count),
            ("threads", Unit::Count),
        ];
        let growths = [self.memory, self.descriptors, self.threads];
        let line = |value: fn(&Growth) -> f64| growths.iter().map(value).map(Some).collect();
        let mut table = Table::new("growth, medians of thirds after the warm-up", &columns);
        let lines: [(&str, Vec<_>); 3] = [
            ("first third", line(|growth| growth.early)),
            ("last third", line(|growth| growth.late)),
            ("may grow by", line(|growth| growth.bound)),
        ];
        for (label, cells) in lines {
            table.line(label, cells);
        }
        let after = [left.memory, left.descriptors, left.threads];
        table.line("when all is unmounted", after.map(Some));
        table
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_good() {
            return write!(f, "good: no errors, no growth beyond the bounds");
        }
        write!(f, "bad: {} errors", self.errors)?;
        if !self.is_same {
            write!(f, ", another daemon than in the beginning")?;
        }
        if self.left > 0.0 {
            write!(f, ", {} mounts are left", self.left)?;
        }
        if self.files > FILES {
            write!(f, ", {} files kept open", self.files)?;
        }
        if self.keeps_too_much() {
            let kept = Unit::Bytes.show(self.kept);
            write!(f, ", {kept} of memory kept when nothing is mounted")?;
        }
        for (name, growth, unit) in [
            ("memory", self.memory, Unit::Bytes),
            ("descriptors", self.descriptors, Unit::Count),
            ("threads", self.threads, Unit::Count),
        ] {
            if !growth.is_good() {
                let (early, late) = (unit.show(growth.early), unit.show(growth.late));
                write!(f, ", {name} grew from {early} to {late}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(memory: impl Fn(f64) -> f64) -> Sampled {
        let mut sampled = Sampled::default();
        for second in 0..100 {
            sampled.seconds.push(f64::from(second));
            sampled.figures.push(Figures {
                memory: memory(f64::from(second)),
                descriptors: 100.0,
                files: 80.0,
                threads: 20.0,
                mounts: 150.0,
            });
        }
        sampled
    }

    const NOTHING: Figures = Figures {
        memory: 0.0,
        descriptors: 0.0,
        files: 0.0,
        threads: 0.0,
        mounts: 0.0,
    };

    #[test]
    fn what_grows_after_the_warm_up_is_a_leak() {
        let tally = Tally::default();
        let judged = |sampled: &Sampled| Verdict::of(sampled, &NOTHING, &tally, true);
        assert!(judged(&sampled(|_| 1e8)).is_good());
        // A cache that fills at the start is not a leak.
        assert!(judged(&sampled(|second| 1e8 * (second / 20.0).min(1.0))).is_good());
        let leak = judged(&sampled(|second| 1e8 + 1e6 * second));
        assert!(!leak.is_good());
        assert!(leak.to_string().contains("memory grew from"), "{leak}");
        assert!(judged(&Sampled::default()).is_good());
    }

    #[test]
    fn an_error_what_is_left_and_a_new_daemon_are_bad() {
        let tally = Tally::default();
        let left = Figures {
            mounts: 1.0,
            ..NOTHING
        };
        let steady = sampled(|_| 1e8);
        let kept = Figures {
            memory: 7e7,
            ..NOTHING
        };
        let little = Figures {
            memory: 6e7,
            ..NOTHING
        };
        assert!(Verdict::of(&steady, &little, &tally, true).is_good());
        let verdict = Verdict::of(&steady, &kept, &tally, true);
        assert!(verdict.to_string().contains("memory kept"), "{verdict}");
        assert!(!verdict.is_good());
        assert!(!Verdict::of(&steady, &left, &tally, true).is_good());
        assert!(!Verdict::of(&steady, &NOTHING, &tally, false).is_good());
        tally.failed(&anyhow::anyhow!("other bytes"));
        let verdict = Verdict::of(&steady, &NOTHING, &tally, true);
        assert!(!verdict.is_good() && verdict.to_string().contains("1 errors"));
    }
}
