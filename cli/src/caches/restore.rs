//! Restoring caches, at the same time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cachefs::restore::{
    FoundDirectories, Mode, Outcome, Report, RestoreOptions, find_directories, look_up, restore,
};
use cachefs::sys::namespace::only_ids;
use cachefs::{Client, Spending, StoreDir};
use cachefs_store::refs::{Part, Resolved, Scope, Wanted};
use cachefs_store::remote::{RemoteSpec, Traffic};
use cachefs_store::stack::Owner;

use super::cache::{Cache, Keys};
use super::deadline::{self, Limit, News};
use super::evidence;
use super::jobs::{self, About, Job, Prepared};
use super::parallel;
use super::{restore_output, told};
use crate::ci::Scopes;
use crate::exit;
use crate::failure::{Failure, failure};
use crate::global::Global;
use crate::machine;
use crate::progress::{Display, Handle};
use crate::{setup, working_directory};

/// How many paths are restored at the same time. They wait for the network most of the time.
const THREADS: usize = 8;

/// How long all restores of a command may take until everything is mounted.
const LIMIT: Duration = Duration::from_secs(2 * 60);
/// How long they may take where files are copied.
const LIMIT_COPYING: Duration = Duration::from_secs(30 * 60);

/// What became of one directory of one cache.
#[derive(Debug)]
pub(crate) struct Restored {
    /// The cache.
    pub(crate) cache: Arc<Cache>,
    /// Which of its directories; of a cache that got no further, its first path as it was written.
    pub(crate) path: PathBuf,
    /// Which part of the key that is, if the cache has several paths.
    pub(crate) part: Option<Part>,
    /// Whether the cache may have several directories.
    pub(crate) several: bool,
    /// Where that is in the form that machines share, if it is below the workspace or at home.
    pub(crate) place: Option<Part>,
    /// Its keys; `None` when they could not be expanded, which is the failure then.
    pub(crate) keys: Option<Arc<Keys>>,
    /// The scopes that were looked in, in their order; none when they have impossible names.
    pub(crate) scopes: Vec<Scope>,
    /// What the library reports, or what went wrong.
    pub(crate) result: Result<Report, Failure>,
    /// Why it is not the very key that was found, in a few words.
    pub(crate) why: Option<String>,
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
/// the same time, and the whole takes about as long as the slowest, and never longer than it may. A
/// failure of one leaves the others alone. The results are in the order of the caches and their
/// paths.
///
/// # Errors
///
/// Only when nothing could be tried: the store cannot be opened, or a path is named twice.
pub(crate) fn restore_all(
    global: &Global,
    caches: &[Cache],
    display: &Display,
) -> anyhow::Result<Vec<Restored>> {
    restore_and(global, caches, display, |restored| {
        let note = enter_mount(restored);
        display.handle().say(&note);
    })
}

/// As [`restore_all`], around a command: this process stays in the working directory that it has,
/// also when that is below a mount now.
pub(crate) fn restore_around(
    global: &Global,
    caches: &[Cache],
    display: &Display,
) -> anyhow::Result<Vec<Restored>> {
    restore_and(global, caches, display, |_| {})
}

/// Enters the working directory again when a cache was mounted over it, so that output files with
/// relative names are where later steps look for them; returns what the user's shell has to do.
fn enter_mount(restored: &mut [Restored]) -> Vec<String> {
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
    caches: &[Cache],
    display: &Display,
    then: impl FnOnce(&mut [Restored]),
) -> anyhow::Result<Vec<Restored>> {
    let caches: Vec<_> = caches.iter().cloned().map(Arc::new).collect();
    let store = setup::store(global)?;
    let run = Run {
        global: global.clone(),
        remote: setup::remote_spec(global, &store)?,
        scopes: setup::scopes(global)?,
        store,
        started: Instant::now(),
    };
    let (told_store, remote) = (run.store.clone(), run.remote.clone());
    let limit = Limit::longest(caches.iter().map(|cache| limit(cache)));
    let wholes = caches.clone();
    let work = move |handle: &Handle, news: &std::sync::mpsc::Sender<_>| {
        let prepared = jobs::prepare(&caches);
        handle.say(&evidence::lines(&prepared));
        let jobs = run.plan(&prepared);
        jobs::check(&jobs)?;
        let abouts = jobs.iter().map(|job| job.about.clone()).collect();
        let _ = news.send(News::Planned(abouts));
        run.start_daemon(&jobs);
        jobs::run(&jobs, THREADS, |number| {
            let restored = run.restore(&jobs[number], handle, limit);
            handle.say(&restore_output::lines(&restored));
            let _ = news.send(News::Done(number, restored));
        });
        Ok(())
    };
    let unplanned = || {
        let whole = |cache| About::whole(cache, None);
        wholes.iter().map(whole).collect()
    };
    let mut restored = deadline::within(display, limit, work, unplanned, |about, allowed| {
        let error = late(&about, allowed).into();
        let failure = failure(&error, is_soft(global, &about));
        let restored = restored(about, Err(failure.after(allowed, Traffic::default())));
        display.handle().say(&restore_output::lines(&restored));
        restored
    })?;
    then(&mut restored);
    told::remember(&told_store, &remote, &restored);
    told::tell_restored(global, &remote, &restored);
    Ok(restored)
}

fn limit(cache: &Cache) -> Limit {
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

fn late(about: &About, limit: Duration) -> cachefs::Error {
    cachefs::Error::TooLate {
        what: format!("the restore of {}", about.path.display()),
        limit,
        hint: "--restore-timeout gives it more time; `cachefs doctor` tries the remote",
    }
}

/// What all restores of a command share.
struct Run {
    global: Global,
    store: StoreDir,
    remote: RemoteSpec,
    scopes: Scopes,
    started: Instant,
}

/// What is to be done at a directory.
enum Work {
    /// Nothing: the policy says so.
    Skip,
    /// Nothing: no key has any of the cache's paths.
    Miss,
    /// These keys are to be shown.
    Restore(Vec<Wanted>),
}

impl Run {
    /// The jobs for all caches. Those of several paths are looked for at the same time.
    fn plan(&self, prepared: &[Prepared]) -> Vec<Job<Work>> {
        let planned = parallel::map(THREADS, prepared, |prepared| match &prepared.ready {
            Ok(_) if prepared.cache.common.no_restore().is_some() => vec![Job {
                about: About::whole(&prepared.cache, prepared.keys()),
                work: Ok(Work::Skip),
            }],
            Ok(_) => self.directories(prepared).unwrap_or_else(|error| {
                vec![Job {
                    about: About::whole(&prepared.cache, prepared.keys()),
                    work: Err(Arc::new(error)),
                }]
            }),
            Err(error) => vec![Job {
                about: About::whole(&prepared.cache, None),
                work: Err(Arc::clone(error)),
            }],
        });
        planned.into_iter().flatten().collect()
    }

    /// The jobs of one cache: one for each directory that its keys hold.
    fn directories(&self, prepared: &Prepared) -> anyhow::Result<Vec<Job<Work>>> {
        let Ok((keys, paths)) = &prepared.ready else {
            return Ok(Vec::new());
        };
        let job = |directory, wanted| Job {
            about: About::directory(prepared, keys, directory),
            work: Ok(Work::Restore(wanted)),
        };
        let mut options = self.options(&prepared.cache, keys)?;
        if let Some(single) = paths.single() {
            return Ok(vec![job(single, options.wanted)]);
        }
        if prepared.cache.restore.lookup_only {
            // Without a daemon.
            options.mode = Mode::Copy;
        }
        let FoundDirectories { directories, .. } = find_directories(&self.store, &options, paths)?;
        if directories.is_empty() {
            return Ok(vec![Job {
                about: About {
                    several: true,
                    ..About::whole(&prepared.cache, prepared.keys())
                },
                work: Ok(Work::Miss),
            }]);
        }
        let jobs = directories.into_iter();
        Ok(jobs
            .map(|(directory, wanted)| job(directory, wanted))
            .collect())
    }

    /// Starts the daemon if several are to be mounted, or each would, and all but one in vain. What
    /// fails here fails there.
    fn start_daemon(&self, jobs: &[Job<Work>]) {
        let mounting = jobs
            .iter()
            .filter(|job| matches!(job.work, Ok(Work::Restore(_))))
            .filter(|job| !job.about.cache.restore.lookup_only)
            .filter(|job| Mode::from(job.about.cache.restore.mode) != Mode::Copy);
        if mounting.count() > 1 {
            let _ = Client::connect(&self.store);
        }
    }

    fn restore(&self, job: &Job<Work>, handle: &Handle, limit: Limit) -> Restored {
        let about = job.about.clone();
        let is_soft = is_soft(&self.global, &about);
        let result = match &job.work {
            Ok(Work::Skip) => Ok(nothing(Outcome::Skipped, &about)),
            Ok(Work::Miss) => Ok(nothing(Outcome::Miss, &about)),
            Ok(Work::Restore(wanted)) => {
                let (started, spent) = (Instant::now(), Spending::default());
                self.one(&about, wanted, &spent, handle).map_err(|error| {
                    let error = match deadline::is_cancellation(&error) && handle.is_late() {
                        true => late(&about, limit.now(handle)).into(),
                        false => error,
                    };
                    failure(&error, is_soft).after(started.elapsed(), spent.traffic())
                })
            }
            Err(error) => {
                Err(failure(error, is_soft).after(self.started.elapsed(), Traffic::default()))
            }
        };
        let mut restored = restored(about, result);
        let fallback = &restored.cache.restore.fallback_scope;
        restored.scopes = self
            .scopes
            .with(fallback)
            .map(|scopes| scopes.all())
            .unwrap_or_default();
        let lost = restored
            .result
            .as_ref()
            .ok()
            .and_then(|report| report.lost.clone());
        restored.why =
            lost.or_else(|| told::why(&self.global, &self.store, &self.remote, &restored));
        restored
    }

    fn one(
        &self,
        about: &About,
        wanted: &[Wanted],
        spent: &Spending,
        handle: &Handle,
    ) -> anyhow::Result<Report> {
        let keys = about.keys.clone().unwrap_or_default();
        let options = RestoreOptions {
            path: about.path.clone(),
            wanted: wanted.to_vec(),
            spent: spent.clone(),
            ..self.options(&about.cache, &keys)?
        };
        Ok(if about.cache.restore.lookup_only {
            look_up(&self.store, &options)?
        } else {
            restore(&self.store, &options, &handle.job())?
        })
    }

    /// How a cache is restored; the path is still to be named.
    fn options(&self, cache: &Cache, keys: &Keys) -> anyhow::Result<RestoreOptions> {
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
            caller: machine::sudo_caller(),
            keep_changes: how.kept_changes(),
            deadline: self.global.timeout,
            spent: Spending::default(),
        })
    }
}

/// Whom a cache is to belong to in a user namespace that has nobody else.
fn only_owner() -> Option<Owner> {
    only_ids().map(|(uid, gid)| Owner { uid, gid })
}

/// Whether a failure is turned into a warning: not for whoever wants to fail without the cache,
/// whether it is not there or cannot be looked up.
fn is_soft(global: &Global, about: &About) -> bool {
    !global.strict_errors && !about.cache.restore.fail_on_cache_miss
}

fn nothing(outcome: Outcome, about: &About) -> Report {
    let keys = about.keys.as_ref().map_or(0, |keys| keys.count());
    Report::nothing(outcome, about.path.clone(), keys)
}

fn restored(about: About, result: Result<Report, Failure>) -> Restored {
    let code = match &result {
        Ok(report) if about.cache.restore.fail_on_cache_miss && is_miss(report) => exit::MISS,
        Ok(_) => exit::SUCCESS,
        Err(failure) => failure.code,
    };
    Restored {
        place: about.place(),
        cache: about.cache,
        path: about.path,
        part: about.part,
        several: about.several,
        keys: about.keys,
        scopes: Vec::new(),
        result,
        why: None,
        code,
    }
}

/// Whether the top of the stack is not there, whichever key it might have come from.
fn is_miss(report: &Report) -> bool {
    match report.outcome {
        Outcome::Remounted | Outcome::Skipped => false,
        _ => report.matched.last().is_none_or(Option::is_none),
    }
}
