//! Synthetic histories: a main branch and pull requests, with a configurable drift.

use std::rc::Rc;

use super::history::{History, HistoryJob, HistoryState, MAIN, hash_number};
use super::lock::PackageModel;

/// Parameters of a synthetic history.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Drift {
    /// For a synthetic history: number of jobs
    #[arg(long, value_name = "N", default_value_t = 1000)]
    jobs: u32,
    /// For a synthetic history: packages in the lock file
    #[arg(long, value_name = "N", default_value_t = 800)]
    packages: u32,
    /// For a synthetic history: probability that a job changes the lock file
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    change: f64,
    /// For a synthetic history: fraction of the packages that such a change replaces
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    drift: f64,
    /// For a synthetic history: concurrent branches besides main
    #[arg(long, value_name = "N", default_value_t = 6)]
    branches: u32,
    /// For a synthetic history: jobs of a branch before its merge
    #[arg(long, value_name = "N", default_value_t = 5)]
    branch_jobs: u32,
    /// For a synthetic history: seed of the random generator
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// The lock file of a branch: the version of each package.
#[derive(Debug, Clone)]
struct Lock {
    versions: Vec<u32>,
    state: Rc<HistoryState>,
}

/// An open branch.
#[derive(Debug)]
struct Branch {
    name: Rc<str>,
    lock: Lock,
    /// Indexes of the packages that the branch changed.
    changed: Vec<usize>,
    jobs_left: u32,
}

struct Maker<'a> {
    drift: &'a Drift,
    model: &'a PackageModel,
    random: fastrand::Rng,
    /// The newest version of any package. It increases with each change, so versions are unique.
    version: u32,
}

/// Creates a history with `gap` seconds between jobs.
pub(super) fn make_history(drift: &Drift, model: &PackageModel, gap: f64) -> History {
    let mut maker = Maker {
        drift,
        model,
        random: fastrand::Rng::with_seed(drift.seed),
        version: 0,
    };
    let versions = vec![0; drift.packages as usize];
    let mut main = Lock {
        state: maker.state(&versions),
        versions,
    };
    let mut open: Vec<Branch> = Vec::new();
    let mut jobs = Vec::new();
    let mut started = 0;
    for number in 0..drift.jobs {
        let (branch, state) = maker.step(&mut main, &mut open, &mut started);
        jobs.push(HistoryJob {
            time: gap * f64::from(number),
            branch,
            state,
        });
    }
    History {
        jobs,
        facts: vec![
            ("history", drift.describe()),
            ("packages", model.describe()),
        ],
        real_times: false,
    }
}

impl Drift {
    fn describe(&self) -> String {
        format!(
            "made up (seed {}): {} jobs on {MAIN} and {} branches at a time, each of {} jobs and then \
             merged; {} packages; a job on a branch changes {} of them with a likelihood of {}",
            self.seed,
            self.jobs,
            self.branches,
            self.branch_jobs,
            self.packages,
            self.drift,
            self.change
        )
    }
}

impl Maker<'_> {
    /// Creates the next job: on a branch, or the job of a merge on main.
    fn step(
        &mut self,
        main: &mut Lock,
        open: &mut Vec<Branch>,
        started: &mut u32,
    ) -> (Rc<str>, Rc<HistoryState>) {
        if self.drift.branches == 0 {
            self.maybe_change(main);
            return (MAIN.into(), Rc::clone(&main.state));
        }
        while open.len() < self.drift.branches as usize {
            *started += 1;
            open.push(Branch {
                name: format!("branch-{started}").into(),
                lock: main.clone(),
                changed: Vec::new(),
                jobs_left: self.drift.branch_jobs,
            });
        }
        let at = self.random.usize(..open.len());
        let branch = &mut open[at];
        if branch.jobs_left == 0 {
            let merged = open.swap_remove(at);
            if !merged.changed.is_empty() {
                for package in merged.changed {
                    main.versions[package] = merged.lock.versions[package];
                }
                main.state = self.state(&main.versions);
            }
            return (MAIN.into(), Rc::clone(&main.state));
        }
        branch.jobs_left -= 1;
        let changed = self.maybe_change(&mut branch.lock);
        branch.changed.extend(changed);
        (Rc::clone(&branch.name), Rc::clone(&branch.lock.state))
    }

    /// Changes a lock file with the configured probability and drift. Returns the changed packages.
    fn maybe_change(&mut self, lock: &mut Lock) -> Vec<usize> {
        if lock.versions.is_empty() || self.random.f64() >= self.drift.change {
            return Vec::new();
        }
        let share = f64::from(self.drift.packages) * self.drift.drift;
        let count = (share.round() as usize).clamp(1, lock.versions.len());
        let packages = self.random.choose_multiple(0..lock.versions.len(), count);
        for &package in &packages {
            self.version += 1;
            lock.versions[package] = self.version;
        }
        lock.state = self.state(&lock.versions);
        packages
    }

    fn state(&self, versions: &[u32]) -> Rc<HistoryState> {
        let packages = versions.iter().enumerate();
        Rc::new(self.model.of_packages(hash_number(versions), packages))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn drift() -> Drift {
        Drift {
            jobs: 400,
            packages: 100,
            change: 0.5,
            drift: 0.02,
            branches: 3,
            branch_jobs: 4,
            seed: 7,
        }
    }

    #[test]
    fn a_history_is_the_same_for_the_same_seed_only() {
        let keys = |drift: &Drift| -> Vec<u64> {
            let history = make_history(drift, &PackageModel::for_tests(), 60.0);
            history.jobs.iter().map(|job| job.state.key).collect()
        };
        assert_eq!(keys(&drift()), keys(&drift()));
        let other = Drift { seed: 8, ..drift() };
        assert_ne!(keys(&drift()), keys(&other));
    }

    #[test]
    fn branches_drift_and_come_back_to_main() {
        let history = make_history(&drift(), &PackageModel::for_tests(), 60.0);
        let names: HashSet<_> = history.jobs.iter().map(|job| &*job.branch).collect();
        assert!(names.len() > 50 && names.contains(MAIN), "{}", names.len());
        let on_main: Vec<_> = history
            .jobs
            .iter()
            .filter(|job| &*job.branch == MAIN)
            .collect();
        // One job in five belongs to a merge, and most merges change the lock file.
        assert!((50..110).contains(&on_main.len()), "{}", on_main.len());
        let keys: HashSet<_> = on_main.iter().map(|job| job.state.key).collect();
        assert!(keys.len() > on_main.len() / 2);
        assert!(history.jobs.iter().all(|job| job.state.pieces.len() == 100));
    }

    #[test]
    fn without_drift_there_is_one_state() {
        let still = Drift {
            change: 0.0,
            ..drift()
        };
        let history = make_history(&still, &PackageModel::for_tests(), 60.0);
        let keys: HashSet<_> = history.jobs.iter().map(|job| job.state.key).collect();
        assert_eq!(keys.len(), 1);
    }
}
