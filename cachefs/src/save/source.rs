//! Kinds of paths: a plain directory, a restored one, or a mount.

use std::fs::File;
use std::path::Path;

use cachefs_store::refs::Scope;
use cachefs_store::resolve_beneath::open_real_directory;
use cachefs_store::save::source::{PathSource, RestoredFrom};
use rustix::fs::OFlags;

use super::upper::UpperFiles;
use crate::error::{Error, Result};
use crate::mounts::{How, MountRecord, MountRecords, Presence, check_presence, refuse_hidden};
use crate::sys::mountinfo::MountTable;
use cachefs_store::Hint;

/// A path that can be saved.
pub(super) struct FoundPath {
    pub(super) source: PathSource,
    /// The path's record, when it was restored from this store.
    pub(super) record: Option<MountRecord>,
}

impl FoundPath {
    fn new(source: PathSource, record: Option<MountRecord>) -> Self {
        let source = match &record {
            Some(record) => source.restored_from(
                record.layers.clone(),
                RestoredFrom {
                    at: record.restored,
                    privileged: record.privileged,
                    owner: record.owner,
                    saved: record.saved.clone(),
                },
            ),
            None => source,
        };
        Self { source, record }
    }

    /// The scope whose keys named the restored stack. If there were several, no layer can be traced
    /// to its scope, so all count as those of the scope that the job restored for.
    pub(super) fn named_in(&self) -> Option<&Scope> {
        let record = self.record.as_ref()?;
        Some(record.named_in.as_ref().unwrap_or(&record.asked_in))
    }
}

/// Determines the source for a path.
pub(super) fn find_source(records: &MountRecords, path: &Path) -> Result<FoundPath> {
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::usage(
            format!("{} does not exist", path.display()),
            "use the directory that the build filled; nothing was saved",
        ),
        std::io::ErrorKind::NotConnected => dead_mount_error(path),
        _ => Error::io("open", path)(error),
    })?;
    if !metadata.is_dir() {
        return Err(Error::usage(
            format!("{} is not a directory", path.display()),
            "use its parent directory",
        ));
    }
    let path = path.canonicalize().map_err(Error::io("find", path))?;
    match records.get(&path)? {
        Some(record) if record.how == How::Mount => mounted_source(records, record),
        // A recreated directory holds the files of the build, not of the restore.
        Some(record) if record.incomplete.is_some_and(|it| !it.is_at(&path)) => {
            plain_source(&path, None)
        }
        Some(record) if record.incomplete.is_some_and(|it| it.copied) => Err(Error::State {
            message: format!(
                "{} may still have files of another key, which the restore of key {} could not remove",
                path.display(),
                record.name.key
            ),
            hint: "nothing was saved; remove the directory, restore or fill it again, and save it; a filesystem that is mounted inside must be unmounted first".into(),
        }),
        Some(record) if record.incomplete.is_some() => Err(Error::State {
            message: format!(
                "{} has a mixture of files: the restore of key {} to it was incomplete",
                path.display(),
                record.name.key
            ),
            hint: Hint::RefillOrForget,
        }),
        Some(record) => plain_source(&path, Some(record)),
        None if is_foreign_mount(&path)? => Err(Error::usage(
            format!("{} is a mount of another store", path.display()),
            Hint::UseStoreOfRestore,
        )),
        None => plain_source(&path, None),
    }
}

fn is_foreign_mount(path: &Path) -> Result<bool> {
    let table = MountTable::read().map_err(Error::io("read", "/proc/self/mountinfo"))?;
    Ok(table
        .topmost_at(path)
        .is_some_and(|mount| mount.is_cachefs_overlay()))
}

fn plain_source(path: &Path, record: Option<MountRecord>) -> Result<FoundPath> {
    // The parent directories may belong to another user, who must not make root save other files.
    let directory = open_real_directory(path, OFlags::RDONLY)
        .map_err(|errno| Error::io("open", path)(errno.into()))?;
    Ok(FoundPath::new(
        PathSource::directory(directory.into(), path),
        record,
    ))
}

fn mounted_source(records: &MountRecords, record: MountRecord) -> Result<FoundPath> {
    match check_presence(&record, records)? {
        Presence::Alive => {}
        Presence::Hidden => {
            let table = MountTable::read().map_err(Error::io("read", "/proc/self/mountinfo"))?;
            refuse_hidden(&table, &record.path).map_err(|error| {
                // For a build, a failing cache is a warning; this error would repeat in every
                // build.
                Error::Usage {
                    message: format!("{error}; nothing was saved"),
                    hint: error.hint(),
                }
            })?;
        }
        Presence::Dead => {
            return Err(dead_mount_error(&record.path));
        }
        Presence::Absent => {
            return Err(Error::State {
                message: format!(
                    "{} was restored as a mount, but is not mounted now",
                    record.path.display()
                ),
                hint: Hint::RestoreOrForget,
            });
        }
    }
    let upper = records.upper(&record);
    let directory = File::open(&upper).map_err(Error::io("open", &upper))?;
    let reading = Box::new(UpperFiles::for_caller());
    let source = PathSource::upper(directory, &upper, &record.path, reading);
    Ok(FoundPath::new(source, Some(record)))
}

fn dead_mount_error(path: &Path) -> Error {
    Error::State {
        message: format!("the mount at {} is dead", path.display()),
        hint: Hint::RestoreKeepingChanges,
    }
}
