//! Resource usage of the daemon, independent of the page cache.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::tally::Tally;
use crate::machine;
use crate::measure::Unit;
use crate::mounts;
use crate::report::{Curve, Curves};

/// Maximum time for a daemon to release unmounted caches.
const PATIENCE: Duration = Duration::from_secs(20);
/// Interval without changes after which usage counts as settled.
const CALM: Duration = Duration::from_secs(2);

/// Resource usage of a daemon and its child processes at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    /// Resident bytes except file-backed pages.
    pub(super) memory: f64,
    pub(super) descriptors: f64,
    /// Descriptors of packs and of the index. They live in bounded caches, so `descriptors`
    /// excludes them.
    pub(super) files: f64,
    pub(super) threads: f64,
    /// Mounts below the work directory: three per restored path.
    pub(super) mounts: f64,
}

impl Figures {
    /// Reads the usage of a daemon.
    pub(super) fn of(daemon: u32, dir: &Path) -> Result<Self> {
        let mut figures = Self {
            memory: 0.0,
            descriptors: 0.0,
            files: 0.0,
            threads: 0.0,
            mounts: mounts::mounts_below(dir)?.len() as f64,
        };
        let own = add_process(daemon, &mut figures);
        own.with_context(|| format!("the daemon {daemon} is gone"))?;
        for process in machine::descendant_processes(daemon) {
            // The process may have exited since it was listed.
            let _ = add_process(process, &mut figures);
        }
        Ok(figures)
    }

    /// Waits until the thread and descriptor counts of an idle daemon stop changing, as the threads
    /// of a mount end only after the unmount. Gives up waiting after `PATIENCE`.
    pub(super) fn settled(daemon: u32, dir: &Path) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        let mut before = Self::of(daemon, dir)?;
        loop {
            std::thread::sleep(CALM);
            let now = Self::of(daemon, dir)?;
            let held = |figures: &Self| (figures.threads, figures.descriptors);
            if held(&now) == held(&before) || Instant::now() > deadline {
                return Ok(now);
            }
            before = now;
        }
    }
}

fn add_process(process: u32, figures: &mut Figures) -> Result<()> {
    let held = machine::HeldResources::by(process)?;
    for descriptor in fs::read_dir(format!("/proc/{process}/fd"))? {
        // The descriptor may have been closed since it was listed.
        match descriptor.and_then(|descriptor| fs::read_link(descriptor.path())) {
            Ok(file) if is_kept(&file) => figures.files += 1.0,
            Ok(_) => figures.descriptors += 1.0,
            Err(_) => {}
        }
    }
    figures.memory += held.memory as f64;
    figures.threads += held.threads as f64;
    Ok(())
}

/// Whether a descriptor belongs to a cache of open files.
fn is_kept(file: &Path) -> bool {
    let is_in = |name: &str| file.components().any(|part| part.as_os_str() == name);
    is_in("packs") || is_in("rocksdb")
}

/// Usage over time.
#[derive(Debug, Default)]
pub(super) struct Sampled {
    pub(super) seconds: Vec<f64>,
    pub(super) figures: Vec<Figures>,
    bytes: Vec<f64>,
}

impl Sampled {
    pub(super) fn add(&mut self, at: Duration, figures: Figures, tally: &Tally) {
        self.seconds.push(at.as_secs_f64());
        self.figures.push(figures);
        self.bytes.push(tally.bytes.load(Relaxed) as f64);
    }

    /// Charts of the usage.
    pub(super) fn curves(&self) -> Vec<Curves> {
        let curve = |label: &str, value: fn(&Figures) -> f64| Curve {
            label: label.to_owned(),
            values: self.figures.iter().map(value).collect(),
        };
        let drawing = |title: &str, unit, curves| Curves {
            title: title.to_owned(),
            unit,
            seconds: self.seconds.clone(),
            curves,
        };
        vec![
            drawing(
                "memory of the daemon, without pages of files",
                Unit::Bytes,
                vec![curve("memory", |figures| figures.memory)],
            ),
            drawing(
                "what it holds",
                Unit::Count,
                vec![
                    curve("descriptors", |figures| figures.descriptors),
                    curve("files kept open", |figures| figures.files),
                    curve("threads", |figures| figures.threads),
                    curve("mounts", |figures| figures.mounts),
                ],
            ),
            drawing(
                "read and compared, in a second",
                Unit::Bytes,
                vec![Curve {
                    label: "bytes".to_owned(),
                    values: self.rates(),
                }],
            ),
        ]
    }

    /// Bytes per second between consecutive samples.
    fn rates(&self) -> Vec<f64> {
        let before = [0.0].into_iter();
        let times = before.clone().chain(self.seconds.iter().copied());
        let bytes = before.chain(self.bytes.iter().copied());
        let now = self.seconds.iter().zip(&self.bytes);
        let rate = |((time, bytes), (now, read)): ((f64, f64), (&f64, &f64))| match now - time {
            passed if passed > 0.0 => (read - bytes) / passed,
            _ => 0.0,
        };
        times.zip(bytes).zip(now).map(rate).collect()
    }
}
