//! Runs a restore or a save of several caches: expands their keys, plans a job for each directory,
//! runs the jobs in parallel within a deadline, and prints each result as soon as it is known.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cachefs::Spending;
use cachefs_store::remote::RemoteTraffic;

use super::cache::ResolvedCache;
use super::deadline::{self, Limit, WorkMessage};
use super::jobs::{self, About, DirectoryJob, Prepared};
use super::key_inputs;
use super::results::DirectoryResult;
use crate::failure::{CommandFailure, describe_failure};
use crate::progress::{Display, ProgressHandle};

/// An operation on caches. One value is shared by all jobs of a command.
pub(super) trait CacheOperation: Send + Sync + 'static {
    /// Work for one directory.
    type Work: Send + Sync;
    /// The library's report.
    type Report: Send + 'static;

    /// Number of directories that are processed in parallel.
    const THREADS: usize;

    /// The time that the operation has for a cache.
    fn limit(cache: &ResolvedCache) -> Limit;

    /// The error of a job that was not done in time.
    fn late_error(about: &About, limit: Duration) -> cachefs::Error;

    /// The jobs for all caches, and notes for the user.
    fn plan(&self, prepared: &[Prepared]) -> OperationPlan<Self::Work>;

    /// Runs once before the jobs.
    fn before_jobs(&self, _jobs: &[DirectoryJob<Self::Work>]) {}

    /// Does the work of one job, and adds its cost to `spent`, even if it fails.
    fn run(
        &self,
        about: &About,
        work: &Self::Work,
        spent: &Spending,
        handle: &ProgressHandle,
    ) -> anyhow::Result<Self::Report>;

    /// Whether a failure is reduced to a warning, so that the build continues without the cache.
    fn is_soft(&self, about: &About) -> bool;

    /// Completes the result of one job.
    fn complete(
        &self,
        about: About,
        result: Result<Self::Report, CommandFailure>,
    ) -> DirectoryResult<Self::Report>;

    /// The messages about a result, line by line.
    fn lines(&self, result: &DirectoryResult<Self::Report>) -> Vec<String>;
}

/// Jobs of an operation.
pub(super) struct OperationPlan<W> {
    pub(super) jobs: Vec<DirectoryJob<W>>,
    /// Lines for the user.
    pub(super) notes: Vec<String>,
}

/// Runs an operation. The results are in the order of the caches and their paths; a failure of one
/// does not affect the others.
///
/// # Errors
/// Only if nothing could be tried, for example because two caches have the same path.
pub(super) fn run_operation<O: CacheOperation>(
    operation: &Arc<O>,
    caches: &[Arc<ResolvedCache>],
    display: &Display,
) -> anyhow::Result<Vec<DirectoryResult<O::Report>>> {
    let limit = Limit::longest(caches.iter().map(|cache| O::limit(cache)));
    let work = {
        let (operation, caches) = (Arc::clone(operation), caches.to_vec());
        move |handle: &ProgressHandle, messages: &deadline::Sender<_, _>| {
            let started = Instant::now();
            let prepared = jobs::prepare_caches(&caches);
            handle.say(&key_inputs::evidence_lines(&prepared));
            let OperationPlan { jobs, notes } = operation.plan(&prepared);
            jobs::check_jobs(&jobs)?;
            let abouts = jobs.iter().map(|job| job.about.clone()).collect();
            let _ = messages.send(WorkMessage::Planned(abouts));
            handle.say(&notes);
            operation.before_jobs(&jobs);
            jobs::run_jobs(&jobs, O::THREADS, |number| {
                let result = run_job(&*operation, &jobs[number], started, handle, limit);
                handle.say(&operation.lines(&result));
                let _ = messages.send(WorkMessage::Done(number, result));
            });
            Ok(())
        }
    };
    let unplanned = || {
        let whole = |cache| About::whole(cache, None);
        caches.iter().map(whole).collect()
    };
    deadline::run_within(display, limit, work, unplanned, |about, allowed| {
        let error = O::late_error(&about, allowed).into();
        let failure = describe_failure(&error, operation.is_soft(&about));
        let failure = failure.after(allowed, RemoteTraffic::default());
        let late = operation.complete(about, Err(failure));
        display.handle().say(&operation.lines(&late));
        late
    })
}

fn run_job<O: CacheOperation>(
    operation: &O,
    job: &DirectoryJob<O::Work>,
    operation_started: Instant,
    handle: &ProgressHandle,
    limit: Limit,
) -> DirectoryResult<O::Report> {
    let about = job.about.clone();
    let is_soft = operation.is_soft(&about);
    let result = match &job.work {
        Ok(work) => {
            let (started, spent) = (Instant::now(), Spending::default());
            let span = tracing::error_span!(
                "job",
                path = %about.path.display(),
                key = about.key().map(tracing::field::display),
            );
            let ran = span.in_scope(|| operation.run(&about, work, &spent, handle));
            ran.map_err(|error| {
                let error = match deadline::is_cancellation(&error) && handle.is_late() {
                    true => O::late_error(&about, limit.now(handle)).into(),
                    false => error,
                };
                describe_failure(&error, is_soft).after(started.elapsed(), spent.traffic())
            })
        }
        Err(error) => Err(describe_failure(error, is_soft)
            .after(operation_started.elapsed(), RemoteTraffic::default())),
    };
    operation.complete(about, result)
}
