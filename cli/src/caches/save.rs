//! Saving caches, at the same time.

use std::path::PathBuf;
use std::sync::Arc;

use cachefs::StoreDir;
use cachefs::save::{Report, SaveOptions, save};
use cachefs_store::refs::{Key, RefName, Scope};
use cachefs_store::remote::RemoteSpec;

use super::cache::{Cache, Keys};
use super::save_output;
use crate::args::Global;
use crate::exit;
use crate::failure::{Failure, failure};
use crate::progress::Display;
use crate::{keys, machine, setup};

/// How many paths are saved at the same time. Each uses all cores when it has much to do, and
/// memory for the packs it sends; what more of them would gain is waiting for the network.
const THREADS: usize = 4;

/// What became of one path of one cache.
#[derive(Debug)]
pub(crate) struct Saved {
    /// The cache.
    pub(crate) cache: Arc<Cache>,
    /// Which of its paths.
    pub(crate) path: PathBuf,
    /// The scope that was saved to.
    pub(crate) scope: Scope,
    /// Its keys; `None` when they could not be expanded, which is the failure then.
    pub(crate) keys: Option<Arc<Keys>>,
    /// What the library reports, or what went wrong.
    pub(crate) result: Result<Report, Failure>,
    /// What it means for the exit code.
    pub(crate) code: u8,
}

impl Saved {
    /// The key that was saved, if the templates gave one.
    pub(crate) fn key(&self) -> Option<&Key> {
        self.keys.as_ref()?.main.as_ref().map(|(key, _)| key)
    }
}

/// Saves every path of the caches, and says of each what became of it.
///
/// A failure of one leaves the others alone. The results are in the order of the caches and their
/// paths.
///
/// # Errors
///
/// Only when nothing could be tried: the store cannot be opened, or a path is named twice.
pub(crate) fn save_all(
    global: &Global,
    caches: &[Cache],
    display: &Display,
) -> anyhow::Result<Vec<Saved>> {
    let store = setup::store(global)?;
    let run = Run {
        global,
        remote: setup::remote_spec(global, &store)?,
        scope: setup::scope(global)?,
        store,
    };
    Ok(super::run(super::jobs(caches)?, THREADS, |job| {
        let saved = run.save(job, display);
        display.say(&save_output::lines(&saved));
        saved
    }))
}

/// What all saves of a command share.
struct Run<'a> {
    global: &'a Global,
    store: StoreDir,
    remote: RemoteSpec,
    scope: Scope,
}

impl Run<'_> {
    fn save(&self, job: &super::Job, display: &Display) -> Saved {
        let result = match &job.keys {
            Ok(keys) => self
                .one(job, keys, display)
                .map_err(|error| failure(self.global, &error, true)),
            Err(error) => Err(failure(self.global, error, true)),
        };
        Saved {
            cache: Arc::clone(&job.cache),
            path: job.path.clone(),
            scope: self.scope.clone(),
            keys: job.keys.as_ref().ok().cloned(),
            code: match &result {
                Ok(_) => exit::SUCCESS,
                Err(failure) => failure.code,
            },
            result,
        }
    }

    fn one(&self, job: &super::Job, keys: &Keys, display: &Display) -> anyhow::Result<Report> {
        let (key, expanded) = main(keys)?;
        let options = SaveOptions {
            path: job.path.clone(),
            name: RefName {
                scope: self.scope.clone(),
                key: key.clone(),
            },
            remote: self.remote.clone(),
            deadline: self.global.timeout,
            creator: machine::creator(),
            platform: machine::platform(),
            parts: serde_json::to_value(&expanded.parts)?,
            dry_run: job.cache.save.dry_run,
            ignore_times: job.cache.save.ignore_times,
        };
        Ok(save(&self.store, &options, &display.job())?)
    }
}

fn main(keys: &Keys) -> Result<&(Key, keys::Expanded), cachefs::Error> {
    keys.main.as_ref().ok_or_else(|| {
        cachefs::Error::usage(
            "there is no key to save under",
            "name one with --key, or a layer with --layer",
        )
    })
}
