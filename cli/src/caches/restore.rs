//! Restoring caches, at the same time.

use std::path::PathBuf;
use std::sync::Arc;

use cachefs::restore::{Mode, Outcome, Report, RestoreOptions, restore};
use cachefs::{Client, StoreDir};
use cachefs_store::refs::{Resolved, Scope};
use cachefs_store::remote::RemoteSpec;

use super::cache::{Cache, Keys};
use super::restore_output;
use crate::args::Global;
use crate::exit;
use crate::failure::{Failure, failure};
use crate::progress::Display;
use crate::setup;

/// How many paths are restored at the same time. They wait for the network most of the time.
const THREADS: usize = 8;

/// What became of one path of one cache.
#[derive(Debug)]
pub(crate) struct Restored {
    /// The cache.
    pub(crate) cache: Arc<Cache>,
    /// Which of its paths.
    pub(crate) path: PathBuf,
    /// Its keys; `None` when they could not be expanded, which is the failure then.
    pub(crate) keys: Option<Arc<Keys>>,
    /// What the library reports, or what went wrong.
    pub(crate) result: Result<Report, Failure>,
    /// What it means for the exit code.
    pub(crate) code: u8,
}

impl Restored {
    /// The match of the cache's own key.
    pub(crate) fn main(&self) -> Option<&Resolved> {
        self.result.as_ref().ok()?.matched.last()?.as_ref()
    }
}

/// Restores every path of the caches, and says of each what became of it.
///
/// A cache that lies in another's path is restored after it; apart from that, all are restored at
/// the same time, and the whole takes about as long as the slowest. A failure of one leaves the
/// others alone. The results are in the order of the caches and their paths.
///
/// # Errors
///
/// Only when nothing could be tried: the store cannot be opened, or a path is named twice.
pub(crate) fn restore_all(
    global: &Global,
    caches: &[Cache],
    display: &Display,
) -> anyhow::Result<Vec<Restored>> {
    let store = setup::store(global)?;
    let remote = setup::remote_spec(global, &store)?;
    let scope = setup::scope(global)?;
    let jobs = super::jobs(caches)?;
    let mounting = jobs
        .iter()
        .any(|job| Mode::from(job.cache.restore.mode) != Mode::Copy);
    if jobs.len() > 1 && mounting {
        // Or each would start a daemon, and all but one in vain. What fails here fails there.
        let _ = Client::connect(&store);
    }
    let run = Run {
        global,
        store,
        remote,
        scope,
    };
    Ok(super::run(jobs, THREADS, |job| {
        let restored = run.restore(job, display);
        display.say(&restore_output::lines(&restored));
        restored
    }))
}

/// What all restores of a command share.
struct Run<'a> {
    global: &'a Global,
    store: StoreDir,
    remote: RemoteSpec,
    scope: Scope,
}

impl Run<'_> {
    fn restore(&self, job: &super::Job, display: &Display) -> Restored {
        let result = match &job.keys {
            Ok(keys) => self.one(job, keys, display),
            Err(error) => Err(failure(self.global, error, true)),
        };
        let code = match &result {
            Ok(report) if job.cache.restore.fail_on_cache_miss && !is_complete(report) => {
                exit::MISS
            }
            Ok(_) => exit::SUCCESS,
            Err(failure) => failure.code,
        };
        Restored {
            cache: Arc::clone(&job.cache),
            path: job.path.clone(),
            keys: job.keys.as_ref().ok().cloned(),
            result,
            code,
        }
    }

    fn one(&self, job: &super::Job, keys: &Keys, display: &Display) -> Result<Report, Failure> {
        let how = &job.cache.restore;
        let restored = scopes(&self.scope, &how.fallback_scope).and_then(|scopes| {
            let options = RestoreOptions {
                path: job.path.clone(),
                remote: self.remote.clone(),
                wanted: keys.wanted(&scopes),
                mode: how.mode.into(),
                lower: how.lower.into(),
                prefetch: how.prefetch.into(),
                trace: !how.no_trace,
                deadline: self.global.timeout,
            };
            Ok(restore(&self.store, &options, &display.job())?)
        });
        restored.map_err(|error| failure(self.global, &error, true))
    }
}

fn scopes(own: &Scope, fallback: &[String]) -> anyhow::Result<Vec<Scope>> {
    let mut scopes = vec![own.clone()];
    for scope in fallback {
        scopes.push(Scope::new(scope.clone()).map_err(cachefs::Error::from)?);
    }
    Ok(scopes)
}

/// Whether the top of the stack is there, whichever key it came from.
fn is_complete(report: &Report) -> bool {
    report.matched.last().is_some_and(Option::is_some)
        || matches!(report.outcome, Outcome::Remounted)
}
