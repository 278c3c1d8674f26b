//! What the daemon holds: nothing here depends on what the page cache has.

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

/// How long a daemon may take to let go of what was unmounted.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing may change before it counts as settled.
const CALM: Duration = Duration::from_secs(2);

/// What a daemon and the processes that it started hold at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    /// Resident bytes that are its own, rather than pages of files.
    pub(super) memory: f64,
    pub(super) descriptors: f64,
    /// Descriptors of packs and of the index, which are kept in caches with a limit and so are no
    /// part of the others.
    pub(super) files: f64,
    pub(super) threads: f64,
    /// Mounts in the directory where all happens: three for each restored path.
    pub(super) mounts: f64,
}

impl Figures {
    /// Looks at a daemon.
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
            // It may have ended meanwhile.
            let _ = add_process(process, &mut figures);
        }
        Ok(figures)
    }

    /// Looks at a daemon that has nothing to do any more, once it holds no less than before: threads
    /// of a mount end after the mount.
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
        // It may have been closed meanwhile.
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

/// Whether a file is one of a cache of open files.
fn is_kept(file: &Path) -> bool {
    let is_in = |name: &str| file.components().any(|part| part.as_os_str() == name);
    is_in("packs") || is_in("rocksdb")
}

/// Figures over time.
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

    /// The figures as drawings.
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

    /// Bytes in a second between each sample and the one before.
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
