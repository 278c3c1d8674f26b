//! All volumes of the node, with the operations in progress and their credentials.
//!
//! Kubelet waits two minutes for a call and then repeats it. So an operation continues after its
//! call timed out, and the next call returns its result or keeps waiting.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cachefs::{DaemonClient, StoreDir};
use parking_lot::Mutex;
use tokio::sync::watch;
use tonic::Status;

use super::credentials::{self, Secrets};
use super::phase::Phase;
use super::run::{CsiServer, Ran};
use super::spec::Rules;
use super::state::{CsiState, CsiVolume};
use crate::hints::word_hint;

/// The administrator's configuration of the service.
#[derive(Debug)]
pub(super) struct Settings {
    /// The local store.
    pub(super) store: StoreDir,
    /// The node's remote and options, as variables for a run of this program.
    pub(super) node: Vec<(&'static str, String)>,
    /// Rules for scopes and attributes.
    pub(super) rules: Rules,
    /// Default time limit of a restore.
    pub(super) restore_timeout: Duration,
    /// Default time limit of a save.
    pub(super) save_timeout: Duration,
    /// Maximum time before a call is answered.
    pub(super) answer_within: Duration,
}

/// Operation on a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VolumeAction {
    Publish,
    Unpublish,
}

/// An operation in progress; its result is published at the end.
struct PendingAction {
    action: VolumeAction,
    done: watch::Receiver<Option<Result<(), Status>>>,
}

/// All volumes.
pub(super) struct CsiVolumes {
    pub(super) settings: Settings,
    pub(super) state: CsiState,
    pending: Mutex<HashMap<String, PendingAction>>,
    /// Secrets by volume; only those that kubelet sent since this process started.
    secrets: Mutex<HashMap<String, Secrets>>,
    /// An empty directory: the working directory of runs, and the home of those with a pod's
    /// credentials.
    nowhere: PathBuf,
}

impl CsiVolumes {
    /// Opens the state of this node.
    ///
    /// # Errors
    ///
    /// If the directories in the store cannot be created.
    pub(super) fn open(settings: Settings) -> cachefs::Result<Self> {
        let own = settings.store.path().join("csi");
        let nowhere = own.join("nowhere");
        std::fs::create_dir_all(&nowhere).map_err(cachefs::Error::io("create", &nowhere))?;
        Ok(Self {
            state: CsiState::open(own.join("volumes"))?,
            pending: Mutex::default(),
            secrets: Mutex::default(),
            settings,
            nowhere,
        })
    }

    /// The records of all volumes.
    pub(super) fn all(&self) -> cachefs::Result<Vec<CsiVolume>> {
        self.state.all()
    }

    /// A temporary directory for a volume.
    pub(super) fn aside(&self, id: &str) -> PathBuf {
        let hash = blake3::hash(id.as_bytes()).to_hex();
        let own = self.settings.store.path().join("csi");
        own.join(format!("aside-{}", &hash[..24]))
    }

    /// Stores the secrets of a volume in memory.
    pub(super) fn learn(&self, id: &str, secrets: Secrets) {
        self.secrets.lock().insert(id.to_owned(), secrets);
    }

    /// The secrets of a volume, if known.
    pub(super) fn secrets(&self, id: &str) -> Option<Secrets> {
        self.secrets.lock().get(id).cloned()
    }

    /// Drops the secrets of a volume.
    pub(super) fn forget(&self, id: &str) {
        self.secrets.lock().remove(id);
    }

    /// Runs an operation on a volume in a thread, and waits for it until the call must be answered.
    ///
    /// # Errors
    ///
    /// Those of the operation; `ABORTED` while this operation, or another one, is in progress.
    pub(super) async fn act(
        self: &Arc<Self>,
        id: &str,
        action: VolumeAction,
        work: impl FnOnce(&Self) -> Result<(), Status> + Send + 'static,
    ) -> Result<(), Status> {
        let mut done = self.begin(id, action, work)?;
        let ended = done.wait_for(Option::is_some);
        match tokio::time::timeout(self.settings.answer_within, ended).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Ok(())),
            Ok(Err(_)) => Err(Status::internal("the operation ended without a result")),
            Err(_) => Err(Status::aborted(match action {
                VolumeAction::Publish => "the cache is still being restored; retry later",
                VolumeAction::Unpublish => "the cache is still being saved; retry later",
            })),
        }
    }

    fn begin(
        self: &Arc<Self>,
        id: &str,
        action: VolumeAction,
        work: impl FnOnce(&Self) -> Result<(), Status> + Send + 'static,
    ) -> Result<watch::Receiver<Option<Result<(), Status>>>, Status> {
        let mut pending = self.pending.lock();
        if let Some(under_way) = pending.get(id) {
            return match (under_way.action, action) {
                // Both calls want the same result, so they share the operation.
                (VolumeAction::Unpublish, VolumeAction::Unpublish) => Ok(under_way.done.clone()),
                (VolumeAction::Publish, _) => Err(Status::aborted("the volume is being published")),
                (VolumeAction::Unpublish, _) => {
                    Err(Status::aborted("the volume is being unpublished"))
                }
            };
        }
        let (tell, done) = watch::channel(None);
        pending.insert(
            id.to_owned(),
            PendingAction {
                action,
                done: done.clone(),
            },
        );
        let (volumes, id) = (Arc::clone(self), id.to_owned());
        tokio::task::spawn_blocking(move || {
            let work = std::panic::AssertUnwindSafe(|| work(&volumes));
            let outcome = std::panic::catch_unwind(work)
                .unwrap_or_else(|_| Err(Status::internal("this is a bug in cachefs")));
            volumes.pending.lock().remove(&id);
            tell.send_replace(Some(outcome));
        });
        Ok(done)
    }

    /// Runs `restore` or `save` for a volume.
    ///
    /// # Errors
    ///
    /// If the process or the daemon cannot be started. The result has the exit code of the process.
    pub(super) fn run(
        &self,
        volume: &CsiVolume,
        phase: Phase,
        path: &Path,
        secrets: &Secrets,
    ) -> Result<Ran, Status> {
        let settings = &self.settings;
        // The daemon inherits the environment of the process that starts it. So we start it here,
        // from a process without secrets.
        DaemonClient::connect(&settings.store).map_err(error_status)?;
        let default = match phase {
            Phase::Restore => settings.restore_timeout,
            Phase::Save => settings.save_timeout,
        };
        let limit = volume.spec.limit(phase, default);
        let mut environment =
            credentials::run_environment(&volume.spec, secrets, &settings.node, &self.nowhere);
        environment.extend([
            (
                "CACHEFS_STORE".to_owned(),
                settings.store.path().to_string_lossy().into_owned(),
            ),
            (
                "CACHEFS_CACHE_LIMIT".to_owned(),
                settings.store.cache_limit().to_string(),
            ),
        ]);
        let run = CsiServer {
            arguments: volume.spec.arguments(phase, path, limit),
            environment,
            secrets,
            directory: &self.nowhere,
            limit,
            who: &volume_label(volume),
        };
        run.run()
            .map_err(|error| Status::internal(format!("cachefs cannot be started: {error}")))
    }
}

/// Name of a volume in the log: its pod, or kubelet's id.
pub(super) fn volume_label(volume: &CsiVolume) -> String {
    volume.spec.pod.clone().unwrap_or_else(|| volume.id.clone())
}

/// Converts an error to a status for kubelet.
pub(super) fn error_status(error: cachefs::Error) -> Status {
    let message = match error.hint() {
        Some(hint) => format!(
            "{}; hint: {}",
            cachefs::describe_chain(&error),
            word_hint(&hint)
        ),
        None => cachefs::describe_chain(&error),
    };
    Status::internal(message)
}
