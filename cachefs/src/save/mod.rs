//! Saving: from a path to a published layer with what changed.

mod changes;
mod collected;
mod dry;
mod file_list;
mod import;
mod publish;
mod shrinkage;
mod source;
mod upper;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cachefs_store::check::{find_missing, may_be_missing};
use cachefs_store::gc::Condemned;
use cachefs_store::id::{RepoId, SaveId, StackId};
use cachefs_store::index::Domains;
use cachefs_store::layer::{BuiltLayer, TreeTotals};
use cachefs_store::local::LostPacks;
use cachefs_store::refs::{
    self, CachePart, Creator, LayerInfo, Platform, RefName, RefRecord, Scope,
};
use cachefs_store::remote::{DynRemote, RemoteErrorKind, RemoteSpec, RemoteTraffic, Spending};
use cachefs_store::repository::Repository;
use cachefs_store::save::{
    Baseline, Delta, Exclude, FileTree, Guard, MissingEntries, Moved, Packed, Progress, Skipped,
    StoreTarget, Target, build_layer, confirm_unchanged, diff_links, give_back, graft_redirects,
    pack_changing_files, pack_files, remove_excluded, scan_settled, scan_tree,
};
use cachefs_store::secrets::{Scanner, SecretFinding, SecretHandling};
use cachefs_store::session::Session;

use crate::error::{Error, Result};
use crate::mounts::MountRecords;
use crate::paths::refuse_overlap;
use crate::rpc::{DaemonClient, IndexOverSocket};
use crate::store_dir::StoreDir;
pub use changes::{PathChange, PathChanges, list_path_changes};
use file_list::FileList;
use shrinkage::{Shrinkage, measure_shrinkage};
use source::SaveSource;

pub use import::{ArchiveSource, ImportOptions, ImportReport, import_archive};

/// What becomes of what the key holds already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// The save is added to it, as a layer.
    #[default]
    Extend,
    /// The key then holds what the path has, and nothing else.
    Replace,
    /// It stays as it is: a key that exists is not saved, and the path not looked at.
    Keep,
}

/// What to save, and as what.
#[derive(Debug, Clone)]
pub struct SaveOptions {
    /// The directory.
    pub path: PathBuf,
    /// What of it is left out.
    pub exclude: Arc<dyn Exclude>,
    /// The key and its scope.
    pub name: RefName,
    /// The scopes that a restore of the key looks in after its own, in order. Chunks are looked up in
    /// what these have stored, too.
    pub fallback: Vec<Scope>,
    /// The layer of a stack that the key is for, such as `base`; `None` for the top of one.
    pub role: Option<String>,
    /// The remote.
    pub remote: RemoteSpec,
    /// How long one request to the remote may take.
    pub deadline: Option<Duration>,
    /// Who saves.
    pub creator: Creator,
    /// Where.
    pub platform: Platform,
    /// What the key was made of.
    pub parts: serde_json::Value,
    /// What becomes of what the key holds already.
    pub existing: Existing,
    /// Writes a record also when nothing changed: the key is then the newest of its prefix.
    pub always: bool,
    /// Finds out what would be saved, and writes nothing.
    pub dry_run: bool,
    /// Lets the key expire this long after the save.
    pub ttl: Option<Duration>,
    /// Reads every file, also those that are as they were when an earlier save read them.
    pub ignore_times: bool,
    /// Fails when a file changes while it is saved, instead of reading it again.
    pub strict_consistency: bool,
    /// Saves a directory without any file, too. It is mostly a mistake: the build did not fill it.
    pub allow_empty: bool,
    /// What secrets are searched for, and what becomes of files that have some.
    pub secrets: Arc<Scanner>,
    /// Where the path is, in a form that machines share, for restores to compare; `None` where it
    /// has no such form, or the key's part tells.
    pub saved_from: Option<CachePart>,
    /// Takes what the save cost, also when it fails.
    pub spent: Spending,
}

/// How a save ended.
#[derive(Debug)]
pub enum SaveOutcome {
    /// The key holds this very content already; nothing was written.
    Unchanged,
    /// The caller's policy leaves saves out; nothing was looked at.
    Skipped,
    /// The key exists, and was to be kept; the path was not looked at.
    Kept,
    /// The path holds no file; nothing was written.
    Empty,
    /// The content was there already, under this or another key; only a ref was written.
    Linked,
    /// A layer was written.
    Saved(Box<LayerInfo>),
    /// A layer would have been written.
    WouldSave,
    /// Secrets were found, and were to fail the save; nothing was written.
    Refused,
}

/// What a save did.
#[derive(Debug)]
pub struct SaveReport {
    /// How it ended.
    pub outcome: SaveOutcome,
    /// The stack that the key names now.
    pub layers: Vec<LayerInfo>,
    /// What the tree that the key names now adds up to, where that is known.
    pub tree: Option<TreeTotals>,
    /// When the key expires, in microseconds since 1970.
    pub expires: Option<u64>,
    /// Files scanned and their bytes.
    pub scanned: (u64, u64),
    /// Entries added, modified, removed.
    pub changes: (u64, u64, u64),
    /// Raw bytes that no pack had yet.
    pub new_raw: u64,
    /// What was left out.
    pub skipped: Vec<Skipped>,
    /// The secrets that were found, in path order.
    pub findings: Vec<SecretFinding>,
    /// How many layers were squashed into one.
    pub squashed: Option<usize>,
    /// Saves of other jobs that this one took in.
    pub united: usize,
    /// Messages to the user about something that did not stop the save.
    pub notes: Vec<String>,
    /// A message about something that may be a mistake: the save removes most of what there was.
    pub warning: Option<String>,
    /// What it cost.
    pub traffic: RemoteTraffic,
    /// How long it took.
    pub elapsed: Duration,
}

impl SaveReport {
    /// A save that wrote nothing: [`SaveOutcome::Kept`] or [`SaveOutcome::Skipped`]; `layers` are what the
    /// key names.
    pub fn nothing(outcome: SaveOutcome, layers: Vec<LayerInfo>) -> Self {
        Self {
            outcome,
            layers,
            tree: None,
            expires: None,
            scanned: (0, 0),
            changes: (0, 0, 0),
            new_raw: 0,
            skipped: Vec::new(),
            findings: Vec::new(),
            squashed: None,
            united: 0,
            notes: Vec::new(),
            warning: None,
            traffic: RemoteTraffic::default(),
            elapsed: Duration::ZERO,
        }
    }
}

/// What a save works with.
struct SaveContext<'a> {
    options: &'a SaveOptions,
    session: Session,
    /// Saves of the key that a power cut left unreadable; this one takes their place.
    torn: Vec<SaveId>,
    target: StoreTarget,
    /// What earlier saves of the same directory read, if that may be used.
    files: Option<FileList>,
    /// Whether the remote lost a part of what the key holds. Then this save replaces all of it.
    lost: bool,
    /// Whether to list what changed.
    list: bool,
    progress: &'a dyn Progress,
}

/// What was found out about the path.
struct FoundChange {
    /// What changed, name by name, if that was asked for.
    listed: Vec<PathChange>,
    /// How much is gone, if that is most of what there was.
    shrinkage: Option<Shrinkage>,
    delta: Delta,
    layer: Option<BuiltLayer>,
    packed: Packed,
    skipped: Vec<Skipped>,
    findings: Vec<SecretFinding>,
    /// Whether what was found fails the save.
    refused: bool,
    /// Whether there is nothing to save.
    empty: bool,
    scanned: (u64, u64),
}

/// Saves a directory under a key.
pub fn save_path(
    store: &StoreDir,
    options: &SaveOptions,
    progress: &dyn Progress,
) -> Result<SaveReport> {
    let started = Instant::now();
    let records = MountRecords::new(store);
    refuse_overlap(store, &options.remote, &options.path)?;
    let mut source = source::find_source(&records, &options.path)?;
    let OpenedKey {
        mut context,
        existing,
    } = open_context(store, options, source.named_in(), progress)?;
    let held = refs::unite_records(refs::retain_unexpired(existing.clone())).0;
    let lost = context.find_lost(&held)?;
    context.lost = lost.is_some();
    // Others may have squashed layers of the path since it was restored, and the collector removes
    // the parts. A mount's changes are its own whatever lies below; a plain directory is compared,
    // so with content of others in what it is compared with, nothing counts as deleted.
    if let Some((followed, is_exact)) = refs::follow_squashes(&source.base, &held)
        && (!source.complete || is_exact || context.find_lost(&source.base)?.is_some())
    {
        source.base = followed;
        // The key's own records named the new layers, and `contains` is only their claim: the scope
        // that the path was restored from does not vouch for them.
        context.target.domains = context.target.domains.based_on_own();
        if source.complete && !is_exact {
            source.deletions = MissingEntries::Ignore;
        }
    }
    if !source.base.is_empty() && context.find_lost(&source.base)?.is_some() {
        if !source.complete {
            return Err(Error::State {
                message: format!(
                    "the remote lost data of the cache that is mounted at {}",
                    source.shown.display()
                ),
                hint: "nothing was saved; `cachefs umount` the path, fill it again, and save it",
            });
        }
        source.base.clear();
    }
    if options.existing == Existing::Keep && lost.is_none() && !held.is_empty() {
        return Ok(SaveReport {
            traffic: context.session.traffic(),
            elapsed: started.elapsed(),
            ..SaveReport::nothing(SaveOutcome::Kept, held)
        });
    }
    // The upper of a mount is as small as what changed, and lives no longer than the mount.
    context.files = source
        .complete
        .then(|| FileList::new(store, context.target.domains.own(), &source.path));
    // A path that was never restored is compared with what the key holds.
    if source.base.is_empty() && !source.restored() && lost.is_none() {
        source.base = held;
        if options.existing == Existing::Replace {
            source.deletions = MissingEntries::Record;
        }
    }
    let from = stack_id(&source.base);
    let began = publish::now_micros();
    let change = context.change(&source)?;
    let own = source.record.as_mut().map(|record| publish::Own {
        records: &records,
        record,
        began,
    });
    let shrinkage = change.shrinkage;
    let mut report = publish::publish_save(&context, &source.base, own, existing, change)?;
    if !source.complete && !options.dry_run && context.session.remote().local_dir().is_none() {
        hand_trace_on(store, from, stack_id(&report.layers));
    }
    let replaced = lost.map(|why| format!("the earlier content of the key is replaced: {why}"));
    report.notes.extend(replaced);
    if matches!(
        report.outcome,
        SaveOutcome::Saved(_) | SaveOutcome::Linked | SaveOutcome::WouldSave
    ) {
        report.warning =
            shrinkage.map(|shrinkage| shrinkage.warning(&options.name, options.dry_run));
    }
    report.traffic = context.session.traffic();
    report.elapsed = started.elapsed();
    Ok(report)
}

/// A key that is going to be saved, and what it holds so far.
struct OpenedKey<'a> {
    context: SaveContext<'a>,
    existing: Vec<RefRecord>,
}

/// Opens the remote, the index and the local copies for a save. `named_in` is the scope whose keys
/// named the layers that the path was restored from; the key's own when there is none.
fn open_context<'a>(
    store: &StoreDir,
    options: &'a SaveOptions,
    named_in: Option<&Scope>,
    progress: &'a dyn Progress,
) -> Result<OpenedKey<'a>> {
    let session = Session::open(store.local(), &options.remote, options.deadline)?;
    let session = session.counted_in(&options.spent);
    let remote = session.remote().clone();
    let repository = Repository::new(remote.clone());
    let (repo, existing, condemned) = session.block_on(async {
        tokio::join!(
            identify_repository(&repository, options.dry_run),
            read_existing(&remote, &options.name),
            Condemned::read(&remote)
        )
    });
    let (repo, existing, condemned) = (repo?, existing?, condemned?);
    let refs::Saves { records, torn } = existing;
    let scope = &options.name.scope;
    let domains = Domains::new(
        &remote.id(),
        &repo,
        scope,
        named_in.unwrap_or(scope),
        &options.fallback,
    );
    let context = SaveContext {
        torn,
        options,
        files: None,
        target: StoreTarget {
            runtime: session.handle().clone(),
            remote: remote.clone(),
            domains,
            index: Arc::new(IndexOverSocket::connect(store.clone())?),
            condemned: Arc::new(condemned),
            cache: session.pack_cache().of(remote.id()),
        },
        session,
        lost: false,
        list: false,
        progress,
    };
    Ok(OpenedKey {
        context,
        existing: records,
    })
}

fn stack_id(layers: &[LayerInfo]) -> StackId {
    StackId::of(layers.iter().map(|layer| &layer.id))
}

/// Has the daemon publish what the job has read of the old stack, for those who restore the new
/// one. The save has landed, so a failure is no more than a note.
fn hand_trace_on(store: &StoreDir, from: StackId, to: StackId) {
    let done = DaemonClient::connect_running(store)
        .and_then(|client| client.map_or(Ok(()), |mut client| client.publish_trace(from, to)));
    if let Err(error) = done {
        tracing::info!(
            "what the job has read is not published: {}",
            crate::error::describe_chain(&error)
        );
    }
}

/// The repository's identity; a dry run makes none, and an unknown one has nothing in the index.
async fn identify_repository(
    repository: &Repository,
    dry_run: bool,
) -> cachefs_store::Result<RepoId> {
    if dry_run {
        return Ok(repository
            .existing_id()
            .await?
            .unwrap_or_else(RepoId::random));
    }
    repository.id().await
}

/// A remote that does not exist yet has no saves: the first one brings it into being.
async fn read_existing(remote: &DynRemote, name: &RefName) -> Result<refs::Saves> {
    match refs::read_saves(remote, name).await {
        Err(cachefs_store::Error::Remote(error))
            if error.kind() == RemoteErrorKind::NoRemote && remote.local_dir().is_some() =>
        {
            Ok(refs::Saves::default())
        }
        other => Ok(other?),
    }
}

/// Whether what was found fails the save.
fn is_refused(packed: &Packed) -> bool {
    let mut findings = packed.findings.iter();
    findings.any(|(_, found)| found.fate == SecretHandling::Refused)
}

fn take_findings(packed: &mut Packed) -> Vec<SecretFinding> {
    let findings = std::mem::take(&mut packed.findings);
    findings.into_iter().map(|(_, finding)| finding).collect()
}

impl SaveContext<'_> {
    /// Whether what the key holds is superseded, rather than united with this save.
    fn replaces(&self) -> bool {
        self.lost || self.options.existing == Existing::Replace
    }

    /// What of a stack the remote lost, as far as [`find_missing`] tells.
    fn find_lost(&self, layers: &[LayerInfo]) -> Result<Option<String>> {
        let noted = LostPacks::new(self.session.layers().root());
        if layers.is_empty() || !may_be_missing(self.session.remote(), layers, &noted) {
            return Ok(None);
        }
        let opened = match self.session.open_layers(layers) {
            Err(error) if error.is_lost() => return Ok(Some(error.to_string())),
            opened => opened?,
        };
        let remote = self.session.remote();
        let missing = find_missing(remote, layers, &opened, &noted);
        let missing = self.session.block_on(missing)?;
        Ok((!missing.is_empty()).then(|| missing.to_string()))
    }

    /// Finds what the path changes, and stores the chunks that are new.
    fn change(&self, source: &SaveSource) -> Result<FoundChange> {
        let mut stack = self.session.open_stack(&source.base)?;
        // What the path does not show is not missing from it.
        if source.record.as_ref().is_some_and(|it| !it.privileged) {
            stack = stack.without_privileges();
        }
        let without_writing = dry::DryTarget(&self.target);
        let target: &dyn Target = if self.options.dry_run {
            &without_writing
        } else {
            &self.target
        };
        let base = Baseline::new(&stack, target)?;
        let scanner = &*self.options.secrets;
        let guard = Guard {
            scanner,
            root: &source.shown,
            below: &stack,
        };
        // Packs may be known to the index and gone from the remote, when someone emptied it. Then
        // the index forgets them, and the second round reads everything and stores what is missing.
        for round in 0..2 {
            let started = SystemTime::now();
            let exclude = &*self.options.exclude;
            let scan_all = if source.complete {
                scan_tree
            } else {
                scan_settled
            };
            let mut scanned =
                scan_all(source.directory(), source.reading(), exclude, self.progress)?;
            if self.options.strict_consistency {
                scanned.refuse_vanished()?;
            }
            let counts = scanned.tree.files();
            if !self.options.allow_empty && source.is_empty(&scanned.tree) {
                return Ok(FoundChange {
                    listed: Vec::new(),
                    shrinkage: None,
                    delta: Delta::default(),
                    layer: None,
                    packed: Packed::default(),
                    skipped: scanned.skipped,
                    findings: Vec::new(),
                    refused: false,
                    empty: true,
                    scanned: counts,
                });
            }
            self.progress.total(counts.0, counts.1);
            let seen = self
                .files
                .as_ref()
                .filter(|_| round == 0 && !self.options.ignore_times)
                .and_then(FileList::read)
                .filter(|seen| seen.is_searched_by(scanner));
            let known = seen.map_or_else(Packed::default, |seen| {
                seen.apply(&mut scanned.tree, guard.root)
            });
            let unread = scanned.tree.unread();
            self.progress.done(counts.0 - unread.0, counts.1 - unread.1);
            if unread.0 > 0 {
                target.learn(&base.packs())?;
            }
            if let Some(owner) = source.owner() {
                give_back(&mut scanned.tree, &scanned.redirects, &stack, owner)?;
            }
            let moved = graft_redirects(&mut scanned.tree, &scanned.redirects, &stack, exclude)?;
            if !(source.complete && source.deletions == MissingEntries::Record) {
                remove_excluded(&mut scanned.tree, &stack, exclude)?;
            }
            let (directory, reading) = (source.directory(), source.reading());
            let tree = &mut scanned.tree;
            let mut packed = if !self.options.strict_consistency {
                let (packed, skipped) = pack_changing_files(
                    directory,
                    tree,
                    reading,
                    target,
                    known,
                    &guard,
                    self.progress,
                )?;
                scanned.skipped.extend(skipped);
                packed
            } else {
                let progress = self.progress;
                pack_files(directory, tree, reading, target, known, &guard, progress)?
            };
            if is_refused(&packed) {
                return Ok(FoundChange {
                    listed: Vec::new(),
                    shrinkage: None,
                    delta: Delta::default(),
                    layer: None,
                    skipped: scanned.skipped,
                    findings: take_findings(&mut packed),
                    packed,
                    refused: true,
                    empty: false,
                    scanned: counts,
                });
            }
            // Each file was checked while it was read. On a mount, also check that nothing was added
            // or removed meanwhile.
            if !source.complete && self.options.strict_consistency {
                confirm_unchanged(source.directory(), &scanned.tree)?;
            }
            if self.is_incomplete(target, &base, &packed)? {
                continue;
            }
            let (delta, layer) = std::thread::scope(|scope| {
                if let Some(files) = &self.files
                    && unread.0 > 0
                    && !self.options.dry_run
                {
                    let (tree, packed) = (&scanned.tree, &packed);
                    scope.spawn(move || files.write(tree, packed, started, scanner));
                }
                self.compare(source, &base, (&scanned.tree, &moved), &packed)
            })?;
            let listed = match self.list {
                true => changes::list_changes(&scanned.tree, &delta, &packed, &base, &stack)?,
                false => Vec::new(),
            };
            return Ok(FoundChange {
                listed,
                shrinkage: measure_shrinkage(&scanned.tree, &delta, &stack)?,
                delta,
                layer,
                findings: take_findings(&mut packed),
                packed,
                skipped: scanned.skipped,
                refused: false,
                empty: false,
                scanned: counts,
            });
        }
        let packs = "packs that were just written are not there";
        Err(cachefs_store::Error::damaged("the remote", packs).into())
    }

    /// The difference to the stack, and the layer that makes it.
    fn compare(
        &self,
        source: &SaveSource,
        base: &Baseline<'_>,
        (tree, moved): (&FileTree, &Moved),
        packed: &Packed,
    ) -> Result<(Delta, Option<BuiltLayer>)> {
        let (complete, deletions) = (source.complete, source.deletions);
        let (delta, joined) = diff_links(tree, moved, base, packed, complete, deletions)?;
        let tree = joined.as_ref().unwrap_or(tree);
        let layer = if delta.is_empty() && !source.base.is_empty() {
            None
        } else {
            Some(build_layer(tree, &delta, packed, base)?)
        };
        Ok((delta, layer))
    }

    /// Whether the index named a pack that the remote no longer has. The stack's own packs are
    /// taken to be there: a ref that can be read names nothing that is missing.
    fn is_incomplete(
        &self,
        target: &dyn Target,
        base: &Baseline<'_>,
        packed: &Packed,
    ) -> Result<bool> {
        let own: HashSet<_> = base.packs().into_iter().map(|pack| pack.id).collect();
        let foreign: Vec<_> = packed
            .known_packs
            .values()
            .filter(|pack| !own.contains(&pack.id))
            .copied()
            .collect();
        Ok(!foreign.is_empty() && !target.confirm(&foreign)?.is_empty())
    }
}
