//! Restoring as a plain directory.

use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cachefs_store::copy::{CopyOptions, CopyReport, IssueKind, check_room, copy_into};
use cachefs_store::id::SaveId;
use cachefs_store::progress::Progress;
use cachefs_store::stack::Owner;

use super::new_record::new_record;
use super::options::RestoreOptions;
use super::report::{NoMount, RestoreOutcome, RestoreReport, lost_report, miss_report};
use super::stack_availability::check_usable;
use super::target_dir::MadeDirectories;
use super::tree_count::COUNTED;
use super::{copied_files, copy_rollback, lookup};
use crate::error::{Error, Result};
use crate::mounts::{How, Incomplete, MountRecord, MountRecords};
use crate::rpc::RestoreReply;
use crate::store_dir::StoreDir;

/// A copy that could not write all entries is not a hit.
pub(super) fn incomplete_copy(path: &Path, record: &MountRecord, report: &CopyReport) -> Error {
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

/// The owner of copied files, if it differs from the saved one. Without root, it is always the
/// calling user, as with `tar`.
pub(super) fn owner_of_copies(
    options: &RestoreOptions,
    how: &CopyOptions,
) -> Result<Option<Owner>> {
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
pub(super) fn restore_copy(
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
