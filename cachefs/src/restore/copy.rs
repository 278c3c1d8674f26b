//! Restoring as a plain directory.

use std::path::{Path, PathBuf};

use cachefs_store::copy::{CopyOptions, CopyReport, IssueKind};
use cachefs_store::id::SaveId;
use cachefs_store::progress::Progress;
use cachefs_store::restore::{CopyRequest, CopyTarget, FoundStack};
use cachefs_store::stack::Owner;

use super::copy_record::CopyRecord;
use super::new_record::new_record;
use super::options::RestoreOptions;
use super::report::{
    NoMount, RestoreOutcome, RestoreReport, found_report, lost_report, miss_report,
};
use super::target_dir::MadeDirectories;
use crate::error::{Error, Result};
use crate::mounts::{How, MountRecord, MountRecords};
use crate::store_dir::StoreDir;
use cachefs_store::Hint;

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
        hint: "remove the directory, or restore as the owner of its files; until then it cannot be saved".into(),
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
            Hint::CopyAsRoot,
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
    found: Option<FoundStack>,
    instead_of_mount: Option<NoMount>,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    let asked_at = SaveId::now().micros;
    let how = CopyOptions::default();
    let owner = owner_of_copies(options, &how)?;
    let session = options.session(store)?;
    let mut found = match found {
        Some(found) => found,
        None => session.resolve(&options.wanted)?,
    };
    if found.is_miss() {
        return Ok(miss_report(path, found, session.traffic()));
    }
    let request = CopyRequest {
        owner,
        privileged: options.privileged,
        options: how,
    };
    let job = match session.copy(&mut found, request)? {
        Ok(job) => job,
        Err(why) => return Ok(lost_report(path, found, why, session.traffic())),
    };
    let directories = MadeDirectories::make(&path, options.owner.or(options.caller))?;
    let directory = directories.open().map_err(Error::io("open", &path))?;
    let target = CopyTarget::new(directory, &path);
    let whole = MountRecord {
        owner,
        ..new_record(&path, How::Copy, &found, options, asked_at)?
    };
    let mut record = CopyRecord::begin(records, whole)?;
    record.remove_earlier_version(store, options, &job, progress)?;
    record.put_incomplete();
    let copied = job.run(&target, progress);
    let is_whole = copied.as_ref().is_ok_and(|report| report.not_created == 0);
    if !is_whole {
        if target.roll_back() {
            directories.remove();
        }
        record.fail()?;
    }
    let report = match copied {
        Ok(report) if !is_whole => return Err(incomplete_copy(&path, record.whole(), &report)),
        Err(error) if error.is_lost() && target.started_empty() => {
            let why = error.to_string();
            return Ok(lost_report(path, found, why, session.traffic()));
        }
        copied => copied?,
    };
    let outcome = RestoreOutcome::Copied {
        report,
        instead_of_mount,
    };
    Ok(RestoreReport {
        notes: record.complete()?,
        ..found_report(outcome, path, found, session.traffic())
    })
}
