//! Converts caches to jobs, one for each directory.

use std::path::PathBuf;
use std::sync::Arc;

use cachefs::paths::{CacheDirectory, PathSet};
use cachefs_store::refs::{CachePart, Key};

use super::cache::{ExpandedKeys, ResolvedCache};
use super::parallel;
use crate::setup;

/// A cache with its templates expanded and its paths understood.
pub(super) struct Prepared {
    pub(super) cache: Arc<ResolvedCache>,
    pub(super) ready: Result<(Arc<ExpandedKeys>, PathSet), Arc<anyhow::Error>>,
}

impl Prepared {
    /// The keys, if they could be expanded.
    pub(super) fn keys(&self) -> Option<Arc<ExpandedKeys>> {
        self.ready.as_ref().ok().map(|(keys, _)| Arc::clone(keys))
    }
}

/// One directory of one cache, which is processed on a thread of its own.
pub(super) struct DirectoryJob<W> {
    pub(super) about: About,
    /// The work, or the reason why it cannot be done.
    pub(super) work: Result<W, Arc<anyhow::Error>>,
}

/// Description of a job.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) cache: Arc<ResolvedCache>,
    /// The directory; of a cache that got no further, its first path as it was written.
    pub(super) path: PathBuf,
    /// Which part of the key it is, if the cache has several paths.
    pub(super) part: Option<CachePart>,
    /// Whether the cache may have several directories.
    pub(super) several: bool,
    /// The keys, if they could be expanded.
    pub(super) keys: Option<Arc<ExpandedKeys>>,
}

impl About {
    /// A cache of which no directory is known.
    pub(super) fn whole(cache: &Arc<ResolvedCache>, keys: Option<Arc<ExpandedKeys>>) -> Self {
        Self {
            cache: Arc::clone(cache),
            path: cache.paths.first().cloned().unwrap_or_default(),
            part: None,
            several: cache.paths.len() > 1,
            keys,
        }
    }

    /// The key to restore or save, if the templates gave one.
    pub(super) fn key(&self) -> Option<&Key> {
        self.keys.as_ref()?.top()
    }

    /// The directory of a key of one path, in the form that all machines share; `None` if a part
    /// names it, or if it is outside of the workspace and the home directory, for example the cache
    /// of a container.
    pub(super) fn place(&self) -> Option<CachePart> {
        if self.part.is_some() {
            return None;
        }
        let paths = setup::path_set(&self.cache.workspace, &self.cache.paths).ok()?;
        let place = paths.places().part_of(&self.path).ok()?;
        (!place.as_str().starts_with('/')).then_some(place)
    }

    /// One directory of a cache.
    pub(super) fn directory(
        prepared: &Prepared,
        keys: &Arc<ExpandedKeys>,
        directory: CacheDirectory,
    ) -> Self {
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
pub(super) fn prepare_caches(caches: &[Arc<ResolvedCache>]) -> Vec<Prepared> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    parallel::map_parallel(cores, caches, |cache| {
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
pub(super) fn check_jobs<W>(jobs: &[DirectoryJob<W>]) -> anyhow::Result<()> {
    let paths = job_paths(jobs);
    let Some(path) = parallel::find_duplicate(&paths) else {
        return Ok(());
    };
    Err(cachefs::Error::usage(
        format!("two caches have the path {}", path.display()),
        "use different paths, or make them layers of one cache",
    )
    .into())
}

/// Runs jobs at the same time, those at outer paths before those at inner ones.
pub(super) fn run_jobs<W: Sync>(
    jobs: &[DirectoryJob<W>],
    threads: usize,
    work: impl Fn(usize) + Sync,
) {
    for wave in parallel::group_waves(&job_paths(jobs)) {
        parallel::map_parallel(threads, &wave, |number| work(*number));
    }
}

fn job_paths<W>(jobs: &[DirectoryJob<W>]) -> Vec<PathBuf> {
    jobs.iter().map(|job| job.about.path.clone()).collect()
}
