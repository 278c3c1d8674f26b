//! What is saved: a plain directory, or the upper directory of a mount.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use cachefs_store::beneath::open_real_directory;
use cachefs_store::refs::{LayerInfo, Scope};
use cachefs_store::save::{FileTree, MissingEntries, PlainFiles, Reading};
use cachefs_store::stack::Owner;
use rustix::fs::OFlags;

use super::upper::UpperFiles;
use crate::error::{Error, Result};
use crate::mounts::{How, MountRecord, MountRecords, Presence, check_presence, refuse_hidden};
use crate::sys::mountinfo::MountTable;

/// Where the files of a save come from, and what they are a change of.
pub(super) struct SaveSource {
    directory: File,
    /// The directory, absolute and without links.
    pub(super) path: PathBuf,
    /// The path that users see: the same, unless it is a mount.
    pub(super) shown: PathBuf,
    reading: Box<dyn Reading>,
    /// The path's record, when it was restored from this store.
    pub(super) record: Option<MountRecord>,
    /// The stack that the files are compared with.
    pub(super) base: Vec<LayerInfo>,
    /// Whether the directory lists everything, rather than what changed.
    pub(super) complete: bool,
    /// What a missing entry means.
    pub(super) deletions: MissingEntries,
}

impl SaveSource {
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    pub(super) fn reading(&self) -> &dyn Reading {
        &*self.reading
    }

    /// Whether the path holds no file, not even one that is excluded; `tree` is what was scanned.
    pub(super) fn is_empty(&self, tree: &FileTree) -> bool {
        match self.complete {
            true => !tree.has_files() && has_only_directories(&self.path),
            false => {
                std::fs::read_dir(&self.shown).is_ok_and(|mut entries| entries.next().is_none())
            }
        }
    }

    /// Whom the path shows everything to belong to, if not to those it was saved from.
    pub(super) fn owner(&self) -> Option<Owner> {
        self.record.as_ref()?.owner
    }

    /// The scope whose keys named the stack that was restored. Where several did, nobody knows which
    /// layer is from which: what they say is then believed in the scope that the job restored for.
    pub(super) fn named_in(&self) -> Option<&Scope> {
        let record = self.record.as_ref()?;
        Some(record.named_in.as_ref().unwrap_or(&record.asked_in))
    }

    /// Whether the path shows a stack that was restored, or started as one.
    pub(super) fn restored(&self) -> bool {
        self.record.is_some()
    }
}

/// Whether nothing but directories is below a directory. One that cannot be read counts as a file.
fn has_only_directories(directory: &Path) -> bool {
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            return false;
        };
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))) {
                Ok((path, kind)) if kind.is_dir() => pending.push(path),
                _ => return false,
            }
        }
    }
    true
}

/// Finds out what a path is.
pub(super) fn find_source(records: &MountRecords, path: &Path) -> Result<SaveSource> {
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::usage(
            format!("{} does not exist", path.display()),
            "name the directory that the build filled; nothing was saved",
        ),
        std::io::ErrorKind::NotConnected => dead_mount_error(path),
        _ => Error::io("open", path)(error),
    })?;
    if !metadata.is_dir() {
        return Err(Error::usage(
            format!("{} is not a directory", path.display()),
            "name the directory that holds it",
        ));
    }
    let path = path.canonicalize().map_err(Error::io("find", path))?;
    match records.get(&path)? {
        Some(record) if record.how == How::Mount => mounted_source(records, record),
        // Once the directory was removed and made anew, it holds what the build put there.
        Some(record) if record.incomplete.is_some_and(|it| !it.is_at(&path)) => {
            plain_source(&path, None, Vec::new(), MissingEntries::Ignore)
        }
        Some(record) if record.incomplete.is_some_and(|it| it.copied) => Err(Error::State {
            message: format!(
                "{} may still have files of another key, which the restore of key {} could not remove",
                path.display(),
                record.name.key
            ),
            hint: "nothing was saved; remove the directory, restore or fill it again, and save it; a filesystem that is mounted inside must be unmounted first",
        }),
        Some(record) if record.incomplete.is_some() => Err(Error::State {
            message: format!(
                "{} holds a mixture of files: a restore of key {} to it was incomplete",
                path.display(),
                record.name.key
            ),
            hint: "nothing was saved; remove the directory and fill it again, or forget the restore with `cachefs umount`",
        }),
        Some(record) => {
            let base = record.layers.clone();
            plain_source(&path, Some(record), base, MissingEntries::Record)
        }
        None if is_foreign_mount(&path)? => Err(Error::usage(
            format!("{} is a mount of another store", path.display()),
            "name the --store that it was restored with",
        )),
        None => plain_source(&path, None, Vec::new(), MissingEntries::Ignore),
    }
}

fn is_foreign_mount(path: &Path) -> Result<bool> {
    let table = MountTable::read().map_err(Error::io("read", "/proc/self/mountinfo"))?;
    Ok(table
        .topmost_at(path)
        .is_some_and(|mount| mount.is_cachefs_overlay()))
}

fn plain_source(
    path: &Path,
    record: Option<MountRecord>,
    base: Vec<LayerInfo>,
    deletions: MissingEntries,
) -> Result<SaveSource> {
    // The directories above may be another user's, who must not have root save other files.
    let directory = open_real_directory(path, OFlags::RDONLY)
        .map_err(|errno| Error::io("open", path)(errno.into()))?;
    Ok(SaveSource {
        directory: directory.into(),
        path: path.to_owned(),
        shown: path.to_owned(),
        reading: Box::new(PlainFiles),
        record,
        base,
        complete: true,
        deletions,
    })
}

fn mounted_source(records: &MountRecords, record: MountRecord) -> Result<SaveSource> {
    match check_presence(&record, records)? {
        Presence::Alive => {}
        Presence::Hidden => {
            let table = MountTable::read().map_err(Error::io("read", "/proc/self/mountinfo"))?;
            refuse_hidden(&table, &record.path).map_err(|error| {
                // The build goes on without a cache that fails; this would fail every time.
                let hint = error.hint().unwrap_or_default();
                Error::usage(format!("{error}; nothing was saved"), hint)
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
                hint: "`cachefs restore` it again, or `cachefs umount` it to forget it",
            });
        }
    }
    let upper = records.upper(&record);
    let directory = File::open(&upper).map_err(Error::io("open", &upper))?;
    Ok(SaveSource {
        directory,
        path: upper,
        shown: record.path.clone(),
        reading: Box::new(UpperFiles::for_caller()),
        base: record.layers.clone(),
        record: Some(record),
        complete: false,
        deletions: MissingEntries::Record,
    })
}

fn dead_mount_error(path: &Path) -> Error {
    Error::State {
        message: format!("the mount at {} is dead", path.display()),
        hint: "`cachefs restore --keep-changes` the path again: that repairs it and keeps its changes",
    }
}
