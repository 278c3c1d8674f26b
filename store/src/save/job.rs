//! One save, from reading the key to writing the record.
//!
//! The order of the steps makes a save safe beside other savers and the collector (`docs/gc.md`).
//! [`SaveJob::run`] implements that order:
//!
//! 1. [`Session::save`] reads the key's records and the condemned list first: objects that are
//!    condemned later stay for at least the shortest grace period.
//! 2. [`SaveJob::pack`] stores the packs. No object references them yet, so a save that stops here
//!    loses nothing.
//! 3. [`SaveJob::store_layers`] plans the record and stores the layers that it will reference.
//! 4. [`SaveJob::publish`] checks that all of these objects exist and will stay, and writes the
//!    record.

use std::sync::Arc;
use std::time::Instant;

use super::delta::MissingEntries;
use super::file_list::FileList;
use super::packed_path::PackedPath;
use super::report::{SaveOutcome, SaveReport};
use super::request::{Existing, SaveRequest};
use super::source::PathSource;
use super::store_target::StoreTarget;
use crate::check::{find_missing, may_be_missing};
use crate::error::{Error, Result};
use crate::gc::Condemned;
use crate::id::{RepoId, SaveId, StackId};
use crate::index::{ChunkIndex, Domains};
use crate::layer::Layer;
use crate::local::{LayerCache, LostPacks, Mirror};
use crate::progress::Progress;
use crate::refs::{self, LayerInfo, RefName, RefRecord, Saves, Scope};
use crate::remote::{DynRemote, OpenRemote, RemoteErrorKind};
use crate::repository::Repository;
use crate::session::{Clock, Session};

/// A save that has read its key, but has no index yet.
pub struct OpenedSave {
    state: JobState,
    domains: Domains,
    condemned: Condemned,
    cache: Mirror,
}

/// A save under way. It owns all that it needs, so it can be held between any two of its steps.
pub struct SaveJob {
    pub(super) state: JobState,
    pub(super) target: StoreTarget,
}

/// The facts that a save has read about its key and its remote.
pub(super) struct JobState {
    pub(super) request: SaveRequest,
    pub(super) opened: OpenRemote,
    runtime: tokio::runtime::Handle,
    pub(super) layers: LayerCache,
    pub(super) clock: Clock,
    started: Instant,
    /// The records of the key when the save began.
    pub(super) existing: Vec<RefRecord>,
    /// Saves of the key that a power cut left unreadable; this one takes their place.
    pub(super) torn: Vec<SaveId>,
    /// Reason why a part of the key's stack is unreadable, if the remote lost it. The save then
    /// replaces the whole stack.
    pub(super) lost: Option<String>,
}

impl Session {
    /// Starts a save: reads the key's records and the condemned list.
    ///
    /// `named_in` is the scope whose keys named the layers that the path was restored from; the
    /// request's own scope if it was not restored.
    pub fn save(&self, request: SaveRequest, named_in: Option<&Scope>) -> Result<OpenedSave> {
        let remote = self.remote();
        let repository = Repository::new(remote.clone());
        let (repo, existing, condemned) = self.block_on(async {
            tokio::join!(
                identify_repository(&repository, request.dry_run),
                read_existing(remote, &request.name),
                Condemned::read_at(remote, self.now())
            )
        });
        let (repo, existing, condemned) = (repo?, existing?, condemned?);
        let scope = &request.name.scope;
        let named_in = named_in.unwrap_or(scope);
        let domains = Domains::new(&remote.id(), &repo, scope, named_in, &request.fallback);
        let Saves { records, torn } = existing;
        Ok(OpenedSave {
            domains,
            condemned,
            cache: self.pack_cache().of(remote.id()),
            state: JobState {
                request,
                opened: self.opened().clone(),
                runtime: self.handle().clone(),
                layers: self.layers().clone(),
                clock: self.clock().clone(),
                started: self.started(),
                existing: records,
                torn,
                lost: None,
            },
        })
    }
}

/// The repository's identity. A dry run creates none, and an unknown one has nothing in the index.
async fn identify_repository(repository: &Repository, dry_run: bool) -> Result<RepoId> {
    if dry_run {
        let existing = repository.existing_id().await?;
        return Ok(existing.unwrap_or_else(RepoId::random));
    }
    repository.id().await
}

/// A directory remote that does not exist yet has no saves: the first one creates it.
async fn read_existing(remote: &DynRemote, name: &RefName) -> Result<Saves> {
    match refs::read_saves(remote, name).await {
        Err(Error::Remote(error))
            if error.kind() == RemoteErrorKind::NoRemote && remote.local_dir().is_some() =>
        {
            Ok(Saves::default())
        }
        other => other,
    }
}

impl OpenedSave {
    /// Continues with this index.
    ///
    /// An extra step, because a daemon that serves the index is started only once the remote has
    /// answered.
    pub fn connect(self, index: Arc<dyn ChunkIndex>) -> SaveJob {
        let target = StoreTarget {
            runtime: self.state.runtime.clone(),
            remote: self.state.opened.remote.clone(),
            domains: self.domains,
            index,
            condemned: Arc::new(self.condemned),
            cache: self.cache,
        };
        SaveJob {
            state: self.state,
            target,
        }
    }

    /// Continues with a target of the caller's choice, such as one that believes other domains.
    pub fn connect_to(self, target: StoreTarget) -> SaveJob {
        SaveJob {
            state: self.state,
            target,
        }
    }
}

impl SaveJob {
    /// Saves a path.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] if the path changed during the save, [`Error::BeingCollected`] if the
    /// collector removed an object that the record would reference, and errors of the remote and
    /// the index. Nothing is published in these cases.
    #[tracing::instrument(level = "error", name = "save", skip_all, fields(key = %self.state.request.name))]
    pub fn run(mut self, source: PathSource, progress: &dyn Progress) -> Result<SaveReport> {
        match self.pack(source, progress)? {
            None => Ok(self.kept()),
            Some(packed) => {
                let stored = self.store_layers(packed)?;
                self.publish(stored)
            }
        }
    }

    /// Finds the changes of the path, and stores the new chunks. `None` if the key exists and the
    /// request keeps existing keys.
    pub fn pack(
        &mut self,
        mut source: PathSource,
        progress: &dyn Progress,
    ) -> Result<Option<PackedPath>> {
        let held = self.held();
        self.state.lost = self.find_lost(&held)?;
        self.settle_base(&mut source, &held)?;
        if self.state.request.existing == Existing::Keep
            && self.state.lost.is_none()
            && !held.is_empty()
        {
            return Ok(None);
        }
        // A path that was never restored is compared with the key's current stack.
        if source.base.is_empty() && source.restored().is_none() && self.state.lost.is_none() {
            source.base = held;
            if self.state.request.existing == Existing::Replace {
                source.deletions = MissingEntries::Record;
            }
        }
        let began = self.now();
        // The upper directory of a mount is small, and does not outlive the mount, so a list would
        // not pay.
        let files = source.is_listed.then(|| self.file_list(&source));
        let delta = self.find_delta(&source, files.as_ref(), progress)?;
        Ok(Some(PackedPath {
            delta,
            restored_at: source.restored().map(|path| path.at),
            previous: source
                .restored()
                .and_then(|path| path.saved_under(&self.state.request.name))
                .cloned(),
            base: source.base,
            began,
        }))
    }

    /// The report of a key that exists and is kept.
    pub fn kept(&self) -> SaveReport {
        self.finish(SaveReport::nothing(SaveOutcome::Kept, self.held()))
    }

    /// Updates the stack that the path was restored from: other saves may have squashed its layers
    /// since, and the collector deletes the parts.
    fn settle_base(&mut self, source: &mut PathSource, held: &[LayerInfo]) -> Result<()> {
        // The upper directory of a mount holds exactly its own changes. A plain directory is
        // compared, so if the squashed layer also has content of other saves, no entry may count as
        // deleted.
        if let Some((followed, is_exact)) = refs::follow_squashes(&source.base, held)
            && (!source.complete || is_exact || self.find_lost(&source.base)?.is_some())
        {
            source.base = followed;
            // The key's own records named the new layers, and `contains` is only their claim: the
            // scope that the path was restored from does not vouch for them.
            self.target.domains = self.target.domains.clone().based_on_own();
            if source.complete && !is_exact {
                source.deletions = MissingEntries::Ignore;
            }
        }
        if !source.base.is_empty() && self.find_lost(&source.base)?.is_some() {
            // The upper of a mount holds only changes, which mean nothing without the rest.
            if !source.complete {
                return Err(Error::LostBelow {
                    path: source.shown().to_owned(),
                });
            }
            source.base.clear();
        }
        Ok(())
    }

    /// The parts of a stack that the remote lost, as far as [`find_missing`] can detect.
    fn find_lost(&self, layers: &[LayerInfo]) -> Result<Option<String>> {
        let remote = self.remote();
        let noted = LostPacks::new(self.state.layers.root());
        if layers.is_empty() || !may_be_missing(remote, layers, &noted) {
            return Ok(None);
        }
        let opened = match self.open_layers(layers) {
            Err(error) if error.is_lost() => return Ok(Some(error.to_string())),
            opened => opened?,
        };
        let missing = self.block_on(find_missing(remote, layers, &opened, &noted))?;
        Ok((!missing.is_empty()).then(|| missing.to_string()))
    }

    /// The list of file contents that earlier saves of the directory left.
    pub(super) fn file_list(&self, source: &PathSource) -> FileList {
        let store = self.state.layers.root();
        FileList::new(store, self.target.domains.own(), source.path())
    }

    /// The key's current layers: the union of the records that have not expired.
    pub(super) fn held(&self) -> Vec<LayerInfo> {
        refs::unite_records(refs::retain_unexpired(self.state.existing.clone())).0
    }

    /// Whether this save supersedes the key's current layers instead of uniting with them.
    pub(super) fn replaces(&self) -> bool {
        self.state.lost.is_some() || self.state.request.existing == Existing::Replace
    }

    pub(super) fn remote(&self) -> &DynRemote {
        &self.state.opened.remote
    }

    pub(super) fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.state.runtime.block_on(work)
    }

    pub(super) fn open_layers(&self, layers: &[LayerInfo]) -> Result<Vec<Arc<Layer>>> {
        self.block_on(self.state.layers.open(self.remote(), layers))
    }

    pub(super) fn now(&self) -> u64 {
        (self.state.clock)()
    }

    /// Adds the cost of the save so far.
    pub(super) fn finish(&self, report: SaveReport) -> SaveReport {
        SaveReport {
            traffic: self.state.opened.traffic(),
            elapsed: self.state.started.elapsed(),
            ..report
        }
    }
}

/// The id of a stack.
pub(super) fn stack_id(layers: &[LayerInfo]) -> StackId {
    StackId::of(layers.iter().map(|layer| &layer.id))
}
