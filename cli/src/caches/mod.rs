//! Caches as commands work with them: what to restore and save, one or many at the same time.
//!
//! A [`Cache`] comes from flags or from a file, and nothing here knows which. [`restore_all`] and
//! [`save_all`] run any number of them, print what happened to each as soon as it is known, and
//! return one [`Restored`] or [`Saved`] for each path of each cache, with all there is to know:
//! the keys with their parts, and the library's report or the error.

mod cache;
mod named;
mod options;
mod parallel;
mod restore;
mod restore_output;
mod save;
mod save_output;

pub(crate) use cache::{Cache, Keys, Layer};
pub(crate) use options::{ModeArg, RestoreHow, SaveHow};
pub(crate) use restore::{Restored, restore_all};
pub(crate) use restore_output::print_json as print_restored;
pub(crate) use save::{Saved, save_all};
pub(crate) use save_output::print_json as print_saved;

use std::path::PathBuf;
use std::sync::Arc;

use crate::exit;

/// The exit code of several, each with its own: the worst.
pub(crate) fn worst(codes: impl IntoIterator<Item = u8>) -> u8 {
    codes.into_iter().fold(exit::SUCCESS, exit::worse)
}

/// One path of one cache: what is run on a thread of its own.
struct Job {
    cache: Arc<Cache>,
    path: PathBuf,
    /// Expanded once for all paths of the cache; each has the error if there is one.
    keys: Result<Arc<Keys>, Arc<anyhow::Error>>,
}

/// The jobs of caches, with their keys expanded.
///
/// # Errors
///
/// A usage error when two are to be at the same path.
fn jobs(caches: &[Cache]) -> anyhow::Result<Vec<Job>> {
    let paths: Vec<PathBuf> = caches
        .iter()
        .flat_map(|cache| cache.paths.clone())
        .collect();
    if let Some(path) = parallel::twice(&paths) {
        return Err(cachefs::Error::usage(
            format!("two caches belong at {}", path.display()),
            "give each cache a path of its own; what lies on each other at one path are the layers of one cache",
        )
        .into());
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let keys = parallel::map(cores, caches, |cache| {
        cache.expand().map(Arc::new).map_err(Arc::new)
    });
    let mut jobs = Vec::with_capacity(paths.len());
    for (cache, keys) in caches.iter().zip(keys) {
        let shared = Arc::new(cache.clone());
        jobs.extend(cache.paths.iter().map(|path| Job {
            cache: Arc::clone(&shared),
            path: path.clone(),
            keys: keys.clone(),
        }));
    }
    Ok(jobs)
}

/// Runs jobs at the same time, those at outer paths before those at inner ones; the results are in
/// the order of the jobs.
fn run<T: Send>(jobs: Vec<Job>, threads: usize, work: impl Fn(&Job) -> T + Sync) -> Vec<T> {
    let paths: Vec<PathBuf> = jobs.iter().map(|job| job.path.clone()).collect();
    let mut done: Vec<(usize, T)> = Vec::with_capacity(jobs.len());
    for wave in parallel::waves(&paths) {
        let results = parallel::map(threads, &wave, |number| work(&jobs[*number]));
        done.extend(wave.into_iter().zip(results));
    }
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}
