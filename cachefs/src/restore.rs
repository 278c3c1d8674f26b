//! Restoring: from keys to a path that shows the cache.

mod copied_files;
mod copy_rollback;
mod hidden_mounts;
mod lookup;
mod multi_path;
mod recover;
mod stack_availability;
mod target_dir;

pub use lookup::look_up;
pub(crate) use lookup::tree_of;
pub(crate) use multi_path::find_parts;
pub use multi_path::{FoundDirectories, find_directories};
pub(crate) use stack_availability::check_usable;
pub use stack_availability::{find_loss, without_lost_parts};
pub use target_dir::MadeDirectories;

use recover::Left;

use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cachefs_store::copy::{CopyOptions, CopyReport, IssueKind, check_room, copy_into};
use cachefs_store::id::SaveId;
use cachefs_store::layer::TreeTotals;
use cachefs_store::progress::Progress;
use cachefs_store::refs::{Key, KeyQuery, LayerInfo, Resolved, Scope};
use cachefs_store::remote::{RemoteSpec, RemoteTraffic, Spending};
use cachefs_store::session::Session;
use cachefs_store::stack::Owner;

use crate::error::{Error, Result};
use crate::mounts::{How, Incomplete, MountRecord, MountRecords, attach_mount};
use crate::paths::refuse_overlap;
use crate::rpc::{DaemonClient, OpenRequest, Prefetch, RestoreReply, RestoreRequest, ViewOrigin};
use crate::store_dir::StoreDir;
use crate::sys::erofs_mount::is_likely;
use crate::sys::spawn::SpawnError;
use crate::unsaved_changes::Unsaved;
use crate::view::ViewForm;

/// A tree of more entries is not counted on the way to a mount, which takes milliseconds.
pub(crate) const COUNTED_QUICKLY: u64 = 1 << 16;
/// A tree of more entries is not counted at all.
pub(crate) const COUNTED: u64 = 1 << 19;

/// How the path is to show the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestoreMode {
    /// Mounted where that works, copied where it does not.
    #[default]
    Auto,
    /// Mounted, or not at all.
    Mount,
    /// Copied, as a plain directory.
    Copy,
}

/// The lower directory of a mount's overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountLower {
    /// An EROFS image where the kernel can mount one from a file, FUSE elsewhere.
    #[default]
    Auto,
    /// The FUSE view.
    Fuse,
}

/// When unsaved changes of an earlier restore stay at the path, if that has the same stack and options.
/// Otherwise they are moved to [`Unsaved`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeepChanges {
    /// Never: each job begins with the cache as it was saved.
    Never,
    /// When the mount died, because its daemon was killed.
    #[default]
    AfterCrash,
    /// Whenever the mount is still there.
    Always,
}

/// Unsaved changes of an earlier restore that were found at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsavedChanges {
    /// Number of entries that were added, changed or removed; a removed directory counts as one.
    pub changes: u64,
    /// Where they were moved; `None` if they are still at the path.
    pub moved_to: Option<PathBuf>,
}

/// Key, target and options of a restore.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The path.
    pub path: PathBuf,
    /// The remote.
    pub remote: RemoteSpec,
    /// The keys, the bottom of the stack first.
    pub wanted: Vec<KeyQuery>,
    /// How.
    pub mode: RestoreMode,
    /// The lower directory of a mount.
    pub lower: MountLower,
    /// Data to prefetch.
    pub prefetch: Prefetch,
    /// Whether reads are noted and published for later jobs.
    pub trace: bool,
    /// Whether devices, setuid bits and file capabilities are shown, too: see
    /// [`Stack::without_privileges`](cachefs_store::stack::Stack::without_privileges).
    pub privileged: bool,
    /// The owner of all files; `None` for the saved owners, as far as this user may change owners.
    pub owner: Option<Owner>,
    /// The user that directories belong to which the restore makes on the way to its path, if they do
    /// not belong to `owner`; `None` for the user of this process.
    pub caller: Option<Owner>,
    /// Whether unsaved changes of an earlier restore of the same stack stay at the path.
    pub keep_changes: KeepChanges,
    /// How long one request to the remote may take.
    pub deadline: Option<Duration>,
    /// Receives the cost of the restore, even if it fails.
    pub spent: Spending,
}

/// How a restore ended.
#[derive(Debug)]
pub enum RestoreOutcome {
    /// No key matched; the path is as it was.
    Miss,
    /// The caller's policy leaves restores out; nothing was looked at.
    Skipped,
    /// A key matched, and that was all that was asked; the path is as it was.
    Found,
    /// The path shows the cache.
    Mounted,
    /// The same stack was mounted there already.
    AlreadyMounted,
    /// A mount that a crash or a reboot had left was put back, with the changes made to it.
    Remounted,
    /// The path holds a copy.
    Copied {
        /// The written files.
        report: CopyReport,
        /// Why it was not mounted, when that was left to us.
        instead_of_mount: Option<NoMount>,
    },
}

/// Why a cache was not mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoMount {
    /// The obstacle.
    pub why: String,
    /// Advice, if there is any.
    pub hint: Option<String>,
}

impl NoMount {
    fn because(error: &Error) -> Self {
        Self {
            why: crate::error::describe_chain(error),
            hint: error.hint(),
        }
    }
}

/// Result of a restore.
#[derive(Debug)]
pub struct RestoreReport {
    /// How it ended.
    pub outcome: RestoreOutcome,
    /// The path, canonical.
    pub path: PathBuf,
    /// Each key's match.
    pub matched: Vec<Option<Resolved>>,
    /// The stack.
    pub layers: Vec<LayerInfo>,
    /// Totals of the tree, not of the layers, which hide parts of each other. `None` if no record
    /// contains them and counting would take long.
    pub tree: Option<TreeTotals>,
    /// Traffic so far.
    pub traffic: RemoteTraffic,
    /// Why keys that matched are not used, when the remote lost data of theirs: a miss.
    pub lost: Option<String>,
    /// Something the user should know, that did not stop the restore.
    pub notes: Vec<String>,
    /// Changes that an earlier restore of the path left and no save took up.
    pub unsaved: Option<UnsavedChanges>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Restores a path.
pub fn restore_path(
    store: &StoreDir,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    let started = Instant::now();
    refuse_overlap(store, &options.remote, &options.path)?;
    let path = target_dir::find_target(&options.path)?;
    let records = MountRecords::new(store);
    records.sweep();
    Unsaved::new(store).remove_old();
    let mut left = Left::default();
    copied_files::clear_leftovers(store, &records, &path, options, &mut left.notes)?;
    let mut report = match recover::recover_path(store, &records, &path, options, &mut left)? {
        Some(report) => report,
        None => {
            restore_fresh(store, &records, path, options, progress).inspect_err(|_| left.log())?
        }
    };
    left.notes.append(&mut report.notes);
    report.notes = left.notes;
    report.unsaved = left.unsaved;
    if matches!(
        report.outcome,
        RestoreOutcome::Mounted | RestoreOutcome::Remounted
    ) {
        report
            .notes
            .extend(hidden_mounts::hidden_mounts_note(&report.path));
    }
    report.elapsed = started.elapsed();
    Ok(report)
}

impl RestoreOptions {
    /// Opens the remote for a restore in this process.
    fn session(&self, store: &StoreDir) -> Result<Session> {
        let session = Session::open(store.local(), &self.remote, self.deadline)?;
        Ok(session.counted_in(&self.spent))
    }

    fn deadline_ms(&self) -> Option<u64> {
        self.deadline.map(|deadline| deadline.as_millis() as u64)
    }

    /// The form of view to ask for.
    fn form(&self) -> ViewForm {
        match self.lower {
            MountLower::Fuse => ViewForm::Tree,
            MountLower::Auto if is_likely() => ViewForm::Image,
            MountLower::Auto => ViewForm::Tree,
        }
    }

    fn shown(&self, form: ViewForm) -> ViewOrigin {
        ViewOrigin {
            remote: self.remote.clone(),
            deadline_ms: self.deadline_ms(),
            prefetch: self.prefetch,
            form,
            trace: self.trace,
            privileged: self.privileged,
            owner: self.owner,
        }
    }

    fn open(&self, layers: &[LayerInfo], form: ViewForm) -> OpenRequest {
        OpenRequest {
            layers: layers.to_vec(),
            shown: self.shown(form),
        }
    }

    /// The key that the user named last: the one that `save` will use.
    fn asked(&self) -> Option<&Key> {
        self.wanted.last().map(|wanted| &wanted.key)
    }

    /// The scope of the job, in which it looks first.
    fn asked_in(&self) -> Option<&Scope> {
        self.wanted.last().and_then(|wanted| wanted.scopes.first())
    }

    fn asks_for(&self, record: &MountRecord) -> bool {
        self.asked() == Some(&record.asked)
            && self.asked_in() == Some(&record.asked_in)
            && self.privileged == record.privileged
            && self.owner == record.owner
    }
}

/// Requests the stack and a view of it from the daemon.
fn request_view(client: &mut DaemonClient, options: &RestoreOptions) -> Result<RestoreReply> {
    let request = RestoreRequest {
        wanted: options.wanted.clone(),
        shown: options.shown(options.form()),
    };
    client.restore(request).inspect_err(|error| {
        if let Error::Daemon(failure) = error {
            options.spent.add(*failure.traffic);
        }
    })
}

fn restore_fresh(
    store: &StoreDir,
    records: &MountRecords,
    path: PathBuf,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    if options.mode == RestoreMode::Copy {
        return restore_copy(store, records, path, options, None, None, progress);
    }
    let mut client = match DaemonClient::connect(store) {
        // A copy needs no daemon.
        Err(error @ Error::Start(SpawnError::Reported { .. }))
            if options.mode == RestoreMode::Auto =>
        {
            let why = NoMount::because(&error);
            return restore_copy(store, records, path, options, None, Some(why), progress);
        }
        connected => connected?,
    };
    let asked_at = SaveId::now().micros;
    let found = request_view(&mut client, options)?;
    let Some(view) = found.view else {
        return Ok(miss_report(path, found));
    };
    if progress.cancelled() {
        client.close(view.view)?;
        return Err(cachefs_store::Error::Cancelled.into());
    }
    let made = MadeDirectories::make(&path, options.owner.or(options.caller))?;
    let record = new_record(&path, How::Mount, &found, options, asked_at)?;
    records.remove(&path)?;
    // Written first: a crash in between leaves a record without a mount, which is cleaned up, and
    // never a mount that nothing knows of.
    records.put(&record)?;
    let attached = attach_mount(&mut client, records, &record, view, |client, form| {
        client.open(options.open(&record.layers, form))
    });
    match attached {
        Ok(()) => Ok(RestoreReport {
            outcome: RestoreOutcome::Mounted,
            path,
            matched: found.matched,
            layers: found.layers,
            tree: found.tree,
            traffic: found.traffic,
            lost: None,
            notes: Vec::new(),
            unsaved: None,
            elapsed: Duration::ZERO,
        }),
        Err(Error::Mount(error)) if options.mode == RestoreMode::Auto && error.is_environment() => {
            records.remove(&path)?;
            made.remove();
            let why = NoMount::because(&Error::Mount(error));
            restore_copy(
                store,
                records,
                path,
                options,
                Some(found),
                Some(why),
                progress,
            )
        }
        Err(error) => {
            records.remove(&path)?;
            made.remove();
            Err(error)
        }
    }
}

fn miss_report(path: PathBuf, found: RestoreReply) -> RestoreReport {
    RestoreReport {
        outcome: RestoreOutcome::Miss,
        path,
        matched: found.matched,
        layers: found.layers,
        tree: found.tree,
        traffic: found.traffic,
        lost: found.lost,
        notes: Vec::new(),
        unsaved: None,
        elapsed: Duration::ZERO,
    }
}

/// A copy that could not write all entries is not a hit.
fn incomplete_copy(path: &Path, record: &MountRecord, report: &CopyReport) -> Error {
    let first = report
        .issues
        .iter()
        .find(|issue| issue.kind == IssueKind::NotCreated);
    let first = first.map_or_else(String::new, |issue| {
        format!(", such as {}: {}", issue.path.display(), issue.detail)
    });
    Error::State {
        message: format!(
            "{} of {} entries of key {} could not be copied to {}{first}",
            report.not_created,
            report.not_created + report.entries,
            record.name.key,
            path.display()
        ),
        hint: "remove the directory, or restore as the owner of its files; until then it cannot be saved",
    }
}

/// Reports a miss although keys matched, because the remote lost a part of them.
fn lost_report(path: PathBuf, found: RestoreReply, why: String) -> RestoreReport {
    RestoreReport {
        matched: vec![None; found.matched.len()],
        layers: Vec::new(),
        tree: None,
        lost: Some(why),
        ..miss_report(path, found)
    }
}

fn new_record(
    path: &Path,
    how: How,
    found: &RestoreReply,
    options: &RestoreOptions,
    restored: u64,
) -> Result<MountRecord> {
    let name = found
        .matched
        .iter()
        .rev()
        .flatten()
        .map(|resolved| resolved.name.clone())
        .next()
        .ok_or_else(|| Error::usage("no key matched", "save one first"))?;
    Ok(MountRecord {
        path: path.to_owned(),
        how,
        asked: options.asked().cloned().unwrap_or_else(|| name.key.clone()),
        asked_in: options
            .asked_in()
            .cloned()
            .unwrap_or_else(|| name.scope.clone()),
        named_in: found
            .matched
            .iter()
            .flatten()
            .all(|resolved| resolved.name.scope == name.scope)
            .then(|| name.scope.clone()),
        name,
        remote: options.remote.url.clone(),
        layers: found.layers.clone(),
        privileged: options.privileged,
        restored,
        owner: options.owner,
        taken_up: 0,
        tree: found.tree,
        saved: Vec::new(),
        incomplete: None,
    })
}

/// The owner of copied files, if it differs from the saved one. Without root, it is always the
/// calling user, as with `tar`.
fn owner_of_copies(options: &RestoreOptions, how: &CopyOptions) -> Result<Option<Owner>> {
    let own = Owner::of_process();
    match options.owner {
        _ if how.owners => Ok(options.owner),
        Some(other) if other != own => Err(Error::usage(
            format!("user {own} cannot change the owner of files to {other}"),
            "run `cachefs restore` as root, or leave --owner out: what is copied is yours then",
        )),
        _ => Ok(Some(own)),
    }
}

/// Restores as a plain directory. Needs no daemon, no FUSE and no overlayfs.
fn restore_copy(
    store: &StoreDir,
    records: &MountRecords,
    path: PathBuf,
    options: &RestoreOptions,
    found: Option<RestoreReply>,
    instead_of_mount: Option<NoMount>,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    let asked_at = SaveId::now().micros;
    let how = CopyOptions::default();
    let owner = owner_of_copies(options, &how)?;
    let session = options.session(store)?;
    let mut found = match found {
        Some(found) => found,
        None => session.block_on(lookup::resolve_keys(session.remote(), &options.wanted))?,
    };
    if found.layers.is_empty() {
        return Ok(RestoreReport {
            traffic: session.traffic(),
            ..miss_report(path, found)
        });
    }
    let opened = session.open_stack(&found.layers).map_err(Error::from);
    let opened = session.block_on(check_usable(
        session.remote(),
        &found.layers,
        opened,
        store.path(),
    ))?;
    let stack = match opened {
        Ok(stack) => stack,
        Err(why) => {
            return Ok(RestoreReport {
                traffic: session.traffic(),
                ..lost_report(path, found, why)
            });
        }
    };
    if found.tree.is_none() {
        found.tree = stack.totals(COUNTED)?;
    }
    let reader = session.frame_reader(&stack)?;
    let mut stack = stack.shown_as(owner);
    if !options.privileged {
        stack = stack.without_privileges();
    }
    let directories = MadeDirectories::make(&path, options.owner.or(options.caller))?;
    let directory = directories.open().map_err(Error::io("open", &path))?;
    // After a failure, files are removed from the opened directory, wherever its path leads by
    // then.
    let here = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    let started_empty = copy_rollback::is_empty(&here);
    let whole = MountRecord {
        owner,
        ..new_record(&path, How::Copy, &found, options, asked_at)?
    };
    let mut notes = Vec::new();
    let before = records.get(&path)?.filter(|before| before.how == How::Copy);
    let earlier = before.as_ref().and_then(|before| before.incomplete);
    let is_mixed = earlier.is_some_and(|earlier| earlier.mixed && earlier.is_at(&path));
    if let Some(before) = before.filter(|before| !before.same_layers(&whole)) {
        // Before anything of the earlier version goes, which makes some room.
        let freed = before.tree.map_or(u64::MAX, |tree| tree.bytes);
        check_room(&stack, &path, freed, progress)?;
        // An earlier version of the key: entries that this one does not have must not come back.
        let removed = copied_files::remove_leftovers(store, &before, Some(&stack), options);
        if let Err(error) = removed {
            notes.push(format!(
                "{} may have entries of an earlier version of the key: {}",
                path.display(),
                crate::error::describe_chain(&error)
            ));
        }
    }
    // Until the copy is complete, the path holds no key; a killed process leaves this record.
    let noted = records.put(&MountRecord {
        incomplete: Some(Incomplete::of(&path, is_mixed)?),
        ..whole.clone()
    });
    let into = (
        directory.try_clone().map_err(Error::io("open", &path))?,
        &*path,
    );
    let copied = copy_into(&stack, &reader, session.handle(), into, &how, progress);
    let is_whole = copied.as_ref().is_ok_and(|report| report.not_created == 0);
    // Half of a cache is worse than none: a build takes it for the whole.
    if !is_whole && started_empty {
        copy_rollback::clear_directory(&here);
        directories.remove();
    }
    if !is_whole && (!path.exists() || copy_rollback::is_empty(&path)) {
        records.remove(&path)?;
    } else if !is_whole && noted.is_ok() {
        records.put(&MountRecord {
            incomplete: Some(Incomplete::of(&path, true)?),
            ..whole.clone()
        })?;
    }
    let report = match copied {
        Ok(report) if !is_whole => return Err(incomplete_copy(&path, &whole, &report)),
        Err(error) if error.is_lost() && started_empty => {
            return Ok(RestoreReport {
                traffic: session.traffic(),
                ..lost_report(path, found, error.to_string())
            });
        }
        copied => copied?,
    };
    if is_mixed {
        notes.push(format!(
            "{} may still contain files of another key and cannot be saved; remove the directory and restore again",
            path.display()
        ));
        records.put(&MountRecord {
            incomplete: Some(Incomplete {
                copied: true,
                ..Incomplete::of(&path, true)?
            }),
            ..whole
        })?;
    } else if let Err(error) = noted.and_then(|()| records.put(&whole)) {
        // The files are there, even if the store cannot be written to.
        notes.push(format!(
            "cannot record the restore of {}: {}; a save of it can only add to the key",
            path.display(),
            crate::error::describe_chain(&error)
        ));
    }
    Ok(RestoreReport {
        outcome: RestoreOutcome::Copied {
            report,
            instead_of_mount,
        },
        path,
        matched: found.matched,
        layers: found.layers,
        tree: found.tree,
        traffic: session.traffic(),
        lost: None,
        notes,
        unsaved: None,
        elapsed: Duration::ZERO,
    })
}
