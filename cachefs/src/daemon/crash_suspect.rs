//! Which mount a worker has died of, so that workers after it do not die of the same one.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rustix::process::WaitStatus;

use super::fd_table::name_of_view;

/// A mount is quarantined after this many workers crashed while serving it.
const CRASHES: u32 = 3;
/// They must have died within this time of each other.
const MEMORY: Duration = Duration::from_secs(600);

/// Mounts that are suspected of crashing workers.
#[derive(Debug, Default)]
pub(super) struct Blame {
    crashes: HashMap<String, (u32, Instant)>,
    /// Out-of-memory kills of the machine as of the last look.
    oom_kills: u64,
}

impl Blame {
    pub(super) fn new() -> Self {
        Self {
            crashes: HashMap::new(),
            oom_kills: oom_kills(),
        }
    }

    /// How many workers have died of a mount.
    pub(super) fn of(&self, name: &str) -> u32 {
        self.crashes.get(name).map_or(0, |(crashes, _)| *crashes)
    }

    /// Whether nothing of a mount may be looked at any more.
    pub(super) fn is_quarantined(&self, name: &str) -> bool {
        self.of(name) >= CRASHES
    }

    /// Whether a worker crashed by itself and was not killed by a signal from outside.
    pub(super) fn is_crash(&mut self, status: WaitStatus) -> bool {
        let before = std::mem::replace(&mut self.oom_kills, oom_kills());
        match status.terminating_signal() {
            Some(libc::SIGKILL) => self.oom_kills > before,
            Some(
                libc::SIGABRT
                | libc::SIGSEGV
                | libc::SIGBUS
                | libc::SIGILL
                | libc::SIGFPE
                | libc::SIGTRAP
                | libc::SIGSYS,
            ) => true,
            _ => false,
        }
    }

    /// Notes that a worker died while it was at work on these views. Returns the mount that is
    /// quarantined from now on.
    ///
    /// Mounts under suspicion are served one after the other, see [`Self::order`]; of several that
    /// were at work, it was the one that came last.
    pub(super) fn crashed(&mut self, views: &BTreeSet<u64>, now: Instant) -> Option<String> {
        self.crashes
            .retain(|_, (_, last)| now.duration_since(*last) < MEMORY);
        let names: Vec<_> = views.iter().map(|view| name_of_view(*view)).collect();
        let suspects = names.iter().filter(|name| self.of(name) > 0);
        let last = suspects.max_by_key(|name| self.order(name)).cloned();
        let blamed = last.map_or(names, |last| vec![last]);
        for name in &blamed {
            let (crashes, last) = self.crashes.entry(name.clone()).or_insert((0, now));
            *crashes += 1;
            *last = now;
        }
        blamed.into_iter().rfind(|name| self.is_quarantined(name))
    }

    /// Sort key of suspected mounts.
    pub(super) fn order(&self, name: &str) -> (u32, String) {
        (self.of(name), name.to_owned())
    }
}

/// Processes that the kernel has killed for want of memory since the machine's start.
fn oom_kills() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let mut lines = text.lines();
    let count = lines.find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_workers_die_of_is_quarantined() {
        let mut blame = Blame::new();
        let now = Instant::now();
        assert_eq!(blame.crashed(&BTreeSet::from([4]), now), None);
        assert_eq!(blame.crashed(&BTreeSet::from([4]), now), None);
        assert_eq!(
            blame.crashed(&BTreeSet::from([4]), now),
            Some("view/4".into())
        );
        assert!(blame.is_quarantined("view/4") && !blame.is_quarantined("view/5"));
    }

    #[test]
    fn a_busy_neighbour_is_not() {
        let mut blame = Blame::new();
        let now = Instant::now();
        blame.crashed(&BTreeSet::from([4, 5]), now);
        // From here on, 4 is served before 5: it was 5 if both are at work, 4 if 5 is not.
        for _ in 0..2 {
            blame.crashed(&BTreeSet::from([4, 5, 6]), now);
        }
        assert!(blame.is_quarantined("view/5"));
        assert!(!blame.is_quarantined("view/4") && !blame.is_quarantined("view/6"));
    }

    #[test]
    fn crashes_long_ago_do_not_count() {
        let mut blame = Blame::new();
        let now = Instant::now();
        for hour in 0..5 {
            let now = now + Duration::from_secs(3600 * hour);
            assert_eq!(blame.crashed(&BTreeSet::from([4]), now), None);
        }
    }
}
