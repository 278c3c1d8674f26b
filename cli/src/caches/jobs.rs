//! From caches to what is run for them: a job for each directory.

use std::path::PathBuf;
use std::sync::Arc;

use cachefs::paths::{Directory, PathSet};
use cachefs_store::refs::Part;

use super::cache::{Cache, Keys};
use super::parallel;
use crate::setup;

/// A cache with its templates expanded and its paths understood.
pub(super) struct Prepared {
    pub(super) cache: Arc<Cache>,
    pub(super) ready: Result<(Arc<Keys>, PathSet), Arc<anyhow::Error>>,
}

impl Prepared {
    /// The keys, if they could be expanded.
    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        self.ready.as_ref().ok().map(|(keys, _)| Arc::clone(keys))
    }
}

/// One directory of one cache: what is run on a thread of its own.
pub(super) struct Job<W> {
    pub(super) about: About,
    /// What to do with it; or why nothing can be done.
    pub(super) work: Result<W, Arc<anyhow::Error>>,
}

/// What a job is about.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) cache: Arc<Cache>,
    /// The directory; of a cache that got no further, its first path as it was written.
    pub(super) path: PathBuf,
    /// Which part of the key it is, if the cache has several paths.
    pub(super) part: Option<Part>,
    /// Whether the cache may have several directories.
    pub(super) several: bool,
    /// The keys, if they could be expanded.
    pub(super) keys: Option<Arc<Keys>>,
}

impl About {
    /// A cache of which no directory is known.
    pub(super) fn whole(cache: &Arc<Cache>, keys: Option<Arc<Keys>>) -> Self {
        Self {
            cache: Arc::clone(cache),
            path: cache.paths.first().cloned().unwrap_or_default(),
            part: None,
            several: cache.paths.len() > 1,
            keys,
        }
    }

    /// Where the directory of a key of one path is, in the form that machines share; `None` when the
    /// part tells, and outside of the workspace and the home directory, as where containers have
    /// their caches.
    pub(super) fn place(&self) -> Option<Part> {
        if self.part.is_some() {
            return None;
        }
        let paths = setup::path_set(&self.cache.workspace, &self.cache.paths).ok()?;
        let place = paths.places().part_of(&self.path).ok()?;
        (!place.as_str().starts_with('/')).then_some(place)
    }

    /// One directory of a cache.
    pub(super) fn directory(prepared: &Prepared, keys: &Arc<Keys>, directory: Directory) -> Self {
        Self {
            cache: Arc::clone(&prepared.cache),
            several: directory.part.is_some(),
            path: directory.path,
            part: directory.part,
            keys: Some(Arc::clone(keys)),
        }
    }
}

/// Expands the templates and reads the paths of all caches.
pub(super) fn prepare(caches: &[Arc<Cache>]) -> Vec<Prepared> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    parallel::map(cores, caches, |cache| {
        let ready = || -> anyhow::Result<_> {
            let paths = setup::path_set(&cache.workspace, &cache.paths)?;
            Ok((Arc::new(cache.expand()?), paths))
        };
        Prepared {
            cache: Arc::clone(cache),
            ready: ready().map_err(Arc::new),
        }
    })
}

/// Checks that no two jobs are about the same directory.
///
/// # Errors
///
/// A usage error when two are.
pub(super) fn check<W>(jobs: &[Job<W>]) -> anyhow::Result<()> {
    let paths = paths(jobs);
    let Some(path) = parallel::twice(&paths) else {
        return Ok(());
    };
    Err(cachefs::Error::usage(
        format!("two caches belong at {}", path.display()),
        "give each cache a path of its own; what lies on each other at one path are the layers of one cache",
    )
    .into())
}

/// Runs jobs at the same time, those at outer paths before those at inner ones.
pub(super) fn run<W: Sync>(jobs: &[Job<W>], threads: usize, work: impl Fn(usize) + Sync) {
    for wave in parallel::waves(&paths(jobs)) {
        parallel::map(threads, &wave, |number| work(*number));
    }
}

fn paths<W>(jobs: &[Job<W>]) -> Vec<PathBuf> {
    jobs.iter().map(|job| job.about.path.clone()).collect()
}
