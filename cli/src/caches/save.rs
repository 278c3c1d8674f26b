//! Saving caches, at the same time.

use std::sync::Arc;
use std::time::Duration;

use cachefs::mounts::MountRecords;
use cachefs::paths::real_path;
use cachefs::save::{SaveOptions, save_path};
use cachefs::{Spending, StoreDir};
use cachefs_store::refs::{Key, RefName};
use cachefs_store::remote::RemoteSpec;
use cachefs_store::save::exclude::Exclude;
use cachefs_store::save::{SaveOutcome, SaveReport, SaveRequest};

use super::cache::{ExpandedKeys, ResolvedCache};
use super::deadline::Limit;
use super::jobs::{About, DirectoryJob, Prepared};
use super::operation::{CacheOperation, OperationPlan, run_operation};
use super::options::SaveIfArg;
use super::output_prefix;
use super::results::{DirectoryResult, SavedDirectory};
use super::secrets;
use super::{ci_report, save_output};
use crate::ci::Scopes;
use crate::exit;
use crate::failure::CommandFailure;
use crate::global::Global;
use crate::progress::{Display, ProgressHandle};
use crate::{keys, machine_identity, setup};

/// How long all saves of a command may take.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Saves every path of the caches, and prints each result.
///
/// A failure does not affect the others. The results are in the order of the caches and their
/// paths. There is a deadline for the whole.
///
/// # Errors
///
/// Only if nothing could be tried: the store cannot be opened, or a path is named twice.
pub(crate) fn save_all(
    global: &Global,
    caches: &[ResolvedCache],
    display: &Display,
) -> anyhow::Result<Vec<SavedDirectory>> {
    let caches: Vec<_> = caches.iter().cloned().map(Arc::new).collect();
    let store = setup::open_store(global)?;
    let run = Arc::new(SaveOperation {
        global: global.clone(),
        remote: setup::remote_to_save_to(global, &store)?,
        scopes: setup::lookup_scopes(global)?,
        store,
    });
    let saved = run_operation(&run, &caches, display)?;
    ci_report::report_results(global, &saved);
    Ok(saved)
}

/// Work for a directory.
enum SaveWork {
    /// Nothing: the policy says so.
    Skip,
    /// Nothing: none of the paths is there.
    Nothing,
    /// It is saved, without these entries.
    Save(Arc<dyn Exclude>),
}

/// The jobs of one cache: one for each directory that is there.
fn plan_directories(
    prepared: &Prepared,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<DirectoryJob<SaveWork>>> {
    let Ok((keys, paths)) = &prepared.ready else {
        return Ok(Vec::new());
    };
    let found = paths.on_disk()?;
    if found.directories.is_empty() && prepared.cache.save.absent_is_empty {
        return Ok(vec![DirectoryJob {
            about: About::whole(&prepared.cache, prepared.keys()),
            work: Ok(SaveWork::Nothing),
        }]);
    }
    if found.directories.is_empty() {
        return Err(cachefs::Error::usage(
            format!("no directory matches {}", found.absent.join(", ")),
            "use the directories that the build filled; nothing was saved",
        )
        .into());
    }
    let name = prepared.cache.name.as_deref();
    let note = |path| format!("note: skipped {path}: it does not exist");
    let absent = found.absent.iter().map(note).collect();
    notes.extend(super::output_prefix::prefix_lines(name, absent));
    let jobs = found.directories.into_iter().map(|directory| DirectoryJob {
        work: Ok(SaveWork::Save(paths.exclude(&directory))),
        about: About::directory(prepared, keys, directory),
    });
    Ok(jobs.collect())
}

/// State that all saves of a command share.
struct SaveOperation {
    global: Global,
    store: StoreDir,
    remote: RemoteSpec,
    scopes: Scopes,
}

impl CacheOperation for SaveOperation {
    type Work = SaveWork;
    type Report = SaveReport;

    /// Each save uses all cores for large changes, and memory for its packs; more threads would
    /// only wait for the network.
    const THREADS: usize = 4;

    fn limit(cache: &ResolvedCache) -> Limit {
        let time = cache.save.save_timeout.unwrap_or(LIMIT);
        Limit {
            whole: time,
            with_files: time,
        }
    }

    fn late_error(about: &About, limit: Duration) -> cachefs::Error {
        cachefs::Error::TooLate {
            what: format!("the save of {}", about.path.display()),
            limit,
            hint: "raise --save-timeout; the next save here reuses the uploaded data".into(),
        }
    }

    fn plan(&self, prepared: &[Prepared]) -> OperationPlan<SaveWork> {
        let (mut jobs, mut notes) = (Vec::new(), Vec::new());
        for prepared in prepared {
            let planned = match &prepared.ready {
                Ok(_) if prepared.cache.common.no_save().is_some() => Ok(vec![DirectoryJob {
                    about: About::whole(&prepared.cache, prepared.keys()),
                    work: Ok(SaveWork::Skip),
                }]),
                Ok(_) => plan_directories(prepared, &mut notes).map_err(Arc::new),
                Err(error) => Err(Arc::clone(error)),
            };
            jobs.extend(planned.unwrap_or_else(|error| {
                vec![DirectoryJob {
                    about: About::whole(&prepared.cache, prepared.keys()),
                    work: Err(error),
                }]
            }));
        }
        OperationPlan { jobs, notes }
    }

    fn run(
        &self,
        about: &About,
        work: &SaveWork,
        spent: &Spending,
        handle: &ProgressHandle,
    ) -> anyhow::Result<SaveReport> {
        match work {
            SaveWork::Skip => Ok(SaveReport::nothing(SaveOutcome::Skipped, Vec::new())),
            SaveWork::Nothing => Ok(SaveReport::nothing(SaveOutcome::Empty, Vec::new())),
            SaveWork::Save(exclude) => self.save_directory(about, exclude, spent, handle),
        }
    }

    fn is_soft(&self, _about: &About) -> bool {
        !self.global.strict_errors
    }

    fn complete(&self, about: About, result: Result<SaveReport, CommandFailure>) -> SavedDirectory {
        DirectoryResult {
            place: about.place(),
            code: match &result {
                Ok(report) if matches!(report.outcome, SaveOutcome::Refused) => exit::INTEGRITY,
                Ok(_) => exit::SUCCESS,
                Err(failure) => failure.code,
            },
            cache: about.cache,
            path: about.path,
            part: about.part,
            several: about.several,
            keys: about.keys,
            scopes: vec![self.scopes.own.clone()],
            result,
            reason: None,
        }
    }

    fn lines(&self, result: &SavedDirectory) -> Vec<String> {
        save_output::save_lines(result, self.global.verbose > 0)
    }
}

impl SaveOperation {
    fn save_directory(
        &self,
        about: &About,
        exclude: &Arc<dyn Exclude>,
        spent: &Spending,
        handle: &ProgressHandle,
    ) -> anyhow::Result<SaveReport> {
        let (key, expanded) = main(about.keys.as_deref())?;
        if let Some(layer) = &about.cache.only {
            self.is_restored_up_to(layer, about, key)?;
        }
        let further = &about.cache.restore.fallback_scope;
        let Scopes {
            own: scope,
            fallback,
        } = self.scopes.with(further)?;
        let key = key.clone();
        let how = &about.cache.save;
        let search = secrets::prepare_search(how)?;
        for name in &search.unset {
            let unset = format!("note: {name} is not set, so its value is not searched for");
            handle.say(&output_prefix::prefix_lines(
                about.cache.name.as_deref(),
                vec![unset],
            ));
        }
        let request = SaveRequest {
            exclude: Arc::clone(exclude),
            fallback,
            role: about.cache.only.clone(),
            creator: machine_identity::current_creator(),
            platform: machine_identity::current_platform(),
            parts: serde_json::to_value(&expanded.parts)?,
            existing: how.existing()?,
            always: how.save_if == SaveIfArg::Always,
            dry_run: how.dry_run,
            ttl: how.ttl,
            ignore_times: how.ignore_times,
            strict_consistency: how.strict_consistency,
            allow_empty: how.allow_empty,
            secrets: search.scanner,
            saved_from: about.place(),
            ..SaveRequest::new(match about.part.clone() {
                None => RefName::new(scope, key),
                Some(part) => RefName::of_part(scope, key, part).map_err(cachefs::Error::from)?,
            })
        };
        let options = SaveOptions {
            path: about.path.clone(),
            remote: self.remote.clone(),
            deadline: self.global.timeout,
            request,
            spent: spent.clone(),
        };
        Ok(save_path(&self.store, &options, &handle.job())?)
    }

    /// Refuses to save as a layer a path that was restored with other layers above it: their
    /// content would become a part of the layer, and of every stack on top of it.
    fn is_restored_up_to(&self, layer: &str, about: &About, key: &Key) -> anyhow::Result<()> {
        let path = real_path(&about.path);
        match MountRecords::new(&self.store).get(&path)? {
            Some(record) if record.asked != *key => {
                let how = match &about.cache.name {
                    Some(name) => format!("`cachefs restore {name} --layer {layer}`"),
                    None => format!("`cachefs restore --layer {layer}={key}` without --key"),
                };
                Err(cachefs::Error::usage(
                    format!(
                        "{} was restored from key {}, not from that of layer {layer}",
                        path.display(),
                        record.asked
                    ),
                    format!(
                        "`cachefs umount` it, run {how}, let the build fill it, and save again"
                    ),
                )
                .into())
            }
            _ => Ok(()),
        }
    }
}

fn main(keys: Option<&ExpandedKeys>) -> Result<&(Key, keys::ExpandedKey), cachefs::Error> {
    keys.and_then(|keys| keys.main.as_ref())
        .ok_or_else(|| cachefs::Error::usage("no key to save under", "set --key or --layer"))
}
