//! Restoring caches, at the same time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cachefs::restore::{
    FoundDirectories, RestoreMode, RestoreOptions, RestoreOutcome, RestoreReport, find_directories,
    look_up, restore_path,
};
use cachefs::sys::namespace::only_ids;
use cachefs::{DaemonClient, Spending, StoreDir};
use cachefs_store::refs::KeyQuery;
use cachefs_store::remote::RemoteSpec;
use cachefs_store::stack::Owner;

use super::cache::{ExpandedKeys, ResolvedCache};
use super::deadline::Limit;
use super::jobs::{About, DirectoryJob, Prepared};
use super::operation::{CacheOperation, OperationPlan, run_operation};
use super::parallel;
use super::results::{DirectoryResult, RestoredDirectory};
use super::{ci_report, restore_output};
use crate::ci::Scopes;
use crate::exit;
use crate::failure::CommandFailure;
use crate::global::Global;
use crate::machine_identity;
use crate::progress::{Display, ProgressHandle};
use crate::{setup, working_directory};

/// How long all restores of a command may take until everything is mounted.
const LIMIT: Duration = Duration::from_secs(2 * 60);
/// How long they may take where files are copied.
const LIMIT_COPYING: Duration = Duration::from_secs(30 * 60);

/// Restores every path of the caches, and prints each result.
///
/// A cache inside another's path is restored after it. Otherwise all are restored in parallel, so
/// the whole takes as long as the slowest one, up to the deadline. A failure does not affect the
/// others. The results are in the order of the caches and their paths.
///
/// # Errors
///
/// Only if nothing could be tried: the store cannot be opened, or a path is named twice.
pub(crate) fn restore_all(
    global: &Global,
    caches: &[ResolvedCache],
    display: &Display,
) -> anyhow::Result<Vec<RestoredDirectory>> {
    restore_and(global, caches, display, |restored| {
        let note = enter_mount(restored);
        display.handle().say(&note);
        Ok(())
    })
}

/// Like [`restore_all`], but restores a missed cache again if `fill` has saved its key in the
/// meantime. The CI outputs are written after that, and only once.
#[cfg(feature = "harness")]
pub(crate) fn restore_or_fill(
    global: &Global,
    caches: &[ResolvedCache],
    display: &Display,
    fill: impl Fn(&RestoredDirectory) -> anyhow::Result<bool>,
) -> anyhow::Result<Vec<RestoredDirectory>> {
    restore_and(global, caches, display, |restored| {
        let mut all = Vec::with_capacity(restored.len());
        for one in restored.drain(..) {
            match one.missed() && fill(&one)? {
                true => all
                    .extend(attempt_restore(global, &[Arc::clone(&one.cache)], display)?.restored),
                false => all.push(one),
            }
        }
        *restored = all;
        let note = enter_mount(restored);
        display.handle().say(&note);
        Ok(())
    })
}

/// As [`restore_all`], around a command: this process stays in the working directory that it has,
/// also when that is below a mount now.
pub(crate) fn restore_around(
    global: &Global,
    caches: &[ResolvedCache],
    display: &Display,
) -> anyhow::Result<Vec<RestoredDirectory>> {
    restore_and(global, caches, display, |_| Ok(()))
}

/// Re-enters the working directory if a cache was mounted over it, so that output files with
/// relative names are written where later steps look for them. Returns advice for the user's shell.
fn enter_mount(restored: &mut [RestoredDirectory]) -> Vec<String> {
    let Some(note) = working_directory::note_to_enter(restored) else {
        return Vec::new();
    };
    if let Ok(path) = std::env::current_dir() {
        // Where that fails, relative names lead where the shell is.
        let _ = std::env::set_current_dir(path);
    }
    let mut reports = restored
        .iter_mut()
        .filter_map(|one| one.result.as_mut().ok());
    if let Some(report) = reports.next() {
        report.notes.push(note.clone());
    }
    vec![format!("warning: {note}")]
}

fn restore_and(
    global: &Global,
    caches: &[ResolvedCache],
    display: &Display,
    then: impl FnOnce(&mut Vec<RestoredDirectory>) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<RestoredDirectory>> {
    let caches: Vec<_> = caches.iter().cloned().map(Arc::new).collect();
    let RestoreAttempt {
        store,
        remote,
        mut restored,
    } = attempt_restore(global, &caches, display)?;
    then(&mut restored)?;
    ci_report::remember_restores(&store, &remote, &restored);
    ci_report::report_results(global, &restored);
    Ok(restored)
}

/// Restores that are not reported yet.
struct RestoreAttempt {
    store: StoreDir,
    remote: RemoteSpec,
    restored: Vec<RestoredDirectory>,
}

fn attempt_restore(
    global: &Global,
    caches: &[Arc<ResolvedCache>],
    display: &Display,
) -> anyhow::Result<RestoreAttempt> {
    let store = setup::open_store(global)?;
    let run = Arc::new(RestoreOperation {
        global: global.clone(),
        remote: setup::remote_spec(global, &store)?,
        scopes: setup::lookup_scopes(global)?,
        store,
    });
    let restored = run_operation(&run, caches, display)?;
    Ok(RestoreAttempt {
        store: run.store.clone(),
        remote: run.remote.clone(),
        restored,
    })
}

/// State that all restores of a command share.
struct RestoreOperation {
    global: Global,
    store: StoreDir,
    remote: RemoteSpec,
    scopes: Scopes,
}

/// Work for a directory.
enum RestoreWork {
    /// Nothing: the policy says so.
    Skip,
    /// Nothing: no key has any of the cache's paths.
    Miss,
    /// These keys are to be shown.
    Restore(Vec<KeyQuery>),
}

impl CacheOperation for RestoreOperation {
    type Work = RestoreWork;
    type Report = RestoreReport;

    /// Restores wait for the network most of the time.
    const THREADS: usize = 8;

    fn limit(cache: &ResolvedCache) -> Limit {
        match cache.restore.restore_timeout {
            Some(time) => Limit {
                whole: time,
                with_files: time,
            },
            None => Limit {
                whole: LIMIT,
                with_files: LIMIT_COPYING,
            },
        }
    }

    fn late_error(about: &About, limit: Duration) -> cachefs::Error {
        cachefs::Error::TooLate {
            what: format!("the restore of {}", about.path.display()),
            limit,
            hint: "raise --restore-timeout, or test the remote with `cachefs doctor`".into(),
        }
    }

    /// Caches of several paths are looked up at the same time.
    fn plan(&self, prepared: &[Prepared]) -> OperationPlan<RestoreWork> {
        let one_job = |prepared: &Prepared, work| {
            vec![DirectoryJob {
                about: About::whole(&prepared.cache, prepared.keys()),
                work,
            }]
        };
        let planned =
            parallel::map_parallel(Self::THREADS, prepared, |prepared| match &prepared.ready {
                Ok(_) if prepared.cache.common.no_restore().is_some() => {
                    one_job(prepared, Ok(RestoreWork::Skip))
                }
                Ok(_) => self
                    .directories(prepared)
                    .unwrap_or_else(|error| one_job(prepared, Err(Arc::new(error)))),
                Err(error) => one_job(prepared, Err(Arc::clone(error))),
            });
        OperationPlan {
            jobs: planned.into_iter().flatten().collect(),
            notes: Vec::new(),
        }
    }

    /// Starts the daemon before several mounts. Otherwise each thread would start one, and all but
    /// one would exit. A failure is reported by the mounts.
    fn before_jobs(&self, jobs: &[DirectoryJob<RestoreWork>]) {
        let mounting = jobs
            .iter()
            .filter(|job| matches!(job.work, Ok(RestoreWork::Restore(_))))
            .filter(|job| !job.about.cache.restore.lookup_only)
            .filter(|job| RestoreMode::from(job.about.cache.restore.mode) != RestoreMode::Copy);
        if mounting.count() > 1 {
            let _ = DaemonClient::connect(&self.store);
        }
    }

    fn run(
        &self,
        about: &About,
        work: &RestoreWork,
        spent: &Spending,
        handle: &ProgressHandle,
    ) -> anyhow::Result<RestoreReport> {
        let wanted = match work {
            RestoreWork::Skip => return Ok(empty_report(RestoreOutcome::Skipped, about)),
            RestoreWork::Miss => return Ok(empty_report(RestoreOutcome::Miss, about)),
            RestoreWork::Restore(wanted) => wanted,
        };
        let keys = about.keys.clone().unwrap_or_default();
        let options = RestoreOptions {
            path: about.path.clone(),
            wanted: wanted.clone(),
            spent: spent.clone(),
            ..self.options(&about.cache, &keys)?
        };
        Ok(if about.cache.restore.lookup_only {
            look_up(&self.store, &options)?
        } else {
            restore_path(&self.store, &options, &handle.job())?
        })
    }

    /// A user who wants to fail without the cache wants so whether it is missing or cannot be
    /// looked up.
    fn is_soft(&self, about: &About) -> bool {
        !self.global.strict_errors && !about.cache.restore.fail_on_cache_miss
    }

    fn complete(
        &self,
        about: About,
        result: Result<RestoreReport, CommandFailure>,
    ) -> RestoredDirectory {
        let scopes = self.scopes.with(&about.cache.restore.fallback_scope);
        let mut restored = DirectoryResult {
            place: about.place(),
            code: match &result {
                Ok(report) if about.cache.restore.fail_on_cache_miss && is_miss(report) => {
                    exit::MISS
                }
                Ok(_) => exit::SUCCESS,
                Err(failure) => failure.code,
            },
            cache: about.cache,
            path: about.path,
            part: about.part,
            several: about.several,
            keys: about.keys,
            scopes: scopes.map(|scopes| scopes.all()).unwrap_or_default(),
            result,
            reason: None,
        };
        let report = restored.result.as_ref().ok();
        let lost = report.and_then(|report| report.lost.clone());
        restored.reason = lost.or_else(|| {
            ci_report::explain_miss(&self.global, &self.store, &self.remote, &restored)
        });
        restored
    }

    fn lines(&self, result: &RestoredDirectory) -> Vec<String> {
        restore_output::restore_lines(result)
    }
}

impl RestoreOperation {
    /// The jobs of one cache: one for each directory that its keys hold.
    fn directories(&self, prepared: &Prepared) -> anyhow::Result<Vec<DirectoryJob<RestoreWork>>> {
        let Ok((keys, paths)) = &prepared.ready else {
            return Ok(Vec::new());
        };
        let job = |directory, wanted| DirectoryJob {
            about: About::directory(prepared, keys, directory),
            work: Ok(RestoreWork::Restore(wanted)),
        };
        let mut options = self.options(&prepared.cache, keys)?;
        if let Some(single) = paths.single() {
            return Ok(vec![job(single, options.wanted)]);
        }
        if prepared.cache.restore.lookup_only {
            // Without a daemon.
            options.mode = RestoreMode::Copy;
        }
        let FoundDirectories { directories, .. } = find_directories(&self.store, &options, paths)?;
        if directories.is_empty() {
            return Ok(vec![DirectoryJob {
                about: About {
                    several: true,
                    ..About::whole(&prepared.cache, prepared.keys())
                },
                work: Ok(RestoreWork::Miss),
            }]);
        }
        let jobs = directories.into_iter();
        Ok(jobs
            .map(|(directory, wanted)| job(directory, wanted))
            .collect())
    }

    /// How a cache is restored; the path is still to be named.
    fn options(
        &self,
        cache: &ResolvedCache,
        keys: &ExpandedKeys,
    ) -> anyhow::Result<RestoreOptions> {
        let how = &cache.restore;
        Ok(RestoreOptions {
            path: PathBuf::new(),
            remote: self.remote.clone(),
            wanted: keys.wanted(cache, &self.scopes.with(&how.fallback_scope)?.all()),
            mode: how.mode.into(),
            lower: how.lower.into(),
            prefetch: how.prefetch.into(),
            trace: !how.no_trace && !cache.common.read_only,
            privileged: how.allow_privileged,
            owner: how.owner.or_else(only_owner),
            caller: machine_identity::sudo_caller(),
            keep_changes: how.kept_changes(),
            deadline: self.global.timeout,
            spent: Spending::default(),
        })
    }
}

/// The owner to show in a user namespace that has only one user.
fn only_owner() -> Option<Owner> {
    only_ids().map(|(uid, gid)| Owner { uid, gid })
}

fn empty_report(outcome: RestoreOutcome, about: &About) -> RestoreReport {
    let keys = about.keys.as_ref().map_or(0, |keys| keys.count());
    RestoreReport::nothing(outcome, about.path.clone(), keys)
}

/// Whether the top of the stack is not there, whichever key it might have come from.
fn is_miss(report: &RestoreReport) -> bool {
    match report.outcome {
        RestoreOutcome::Remounted | RestoreOutcome::Skipped => false,
        _ => report.matched.last().is_none_or(Option::is_none),
    }
}
