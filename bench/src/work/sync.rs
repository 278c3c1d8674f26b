//! Makes one tree equal to another, changing only entries that differ.
//!
//! Like `rsync --checksum`, we skip a file with the same content whatever its times, as package
//! managers skip unchanged files. Written files get the source's times, to the nanosecond. Extended
//! attributes are ignored. Fifos, sockets and devices are neither copied nor removed.

mod write;

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Stat, linkat, readlinkat, statat};

use super::dir::{Lister, WorkEntryKind, open_dir, open_root};
use crate::interrupt;

/// Counts of the changes that a sync made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SyncChanges {
    /// New entries.
    pub(crate) created: u64,
    /// Files and links whose content changed.
    pub(crate) rewritten: u64,
    /// Removed entries; entries below a removed directory are not counted.
    pub(crate) removed: u64,
    /// Entries with a change of only mode or owner.
    pub(crate) attributes: u64,
    /// Skipped fifos, sockets and devices.
    pub(crate) skipped: u64,
}

impl SyncChanges {
    /// Whether the trees were already equal.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            created,
            rewritten,
            removed,
            attributes,
            skipped: _,
        } = self;
        created + rewritten + removed + attributes == 0
    }
}

/// Makes `target` equal to `source`. Both must be existing directories.
pub(crate) fn sync_directory(source: &Path, target: &Path) -> Result<SyncChanges> {
    Sync::run(source, target).with_context(|| {
        let (source, target) = (source.display(), target.display());
        format!("could not bring {target} to the state of {source}")
    })
}

/// An entry of the source, and its counterpart in the target if it exists.
struct Pair<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    name: &'a CString,
    /// Path relative to the roots.
    path: PathBuf,
    source: Stat,
    target: Option<Stat>,
}

struct Sync {
    target: OwnedFd,
    lister: Lister,
    /// Target paths of source files with several hard links, by device and inode.
    linked: HashMap<(u64, u64), PathBuf>,
    changes: SyncChanges,
}

impl Sync {
    fn run(source: &Path, target: &Path) -> io::Result<SyncChanges> {
        let (from, to) = (open_root(source)?, open_root(target)?);
        let mut sync = Self {
            target: to.try_clone()?,
            lister: Lister::new(),
            linked: HashMap::new(),
            changes: SyncChanges::default(),
        };
        sync.directory(from.as_fd(), to.as_fd(), Path::new(""))?;
        Ok(sync.changes)
    }

    fn directory(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        path: &Path,
    ) -> io::Result<()> {
        interrupt::check_io()?;
        let wanted = self.by_name(from)?;
        let there = self.by_name(to)?;
        let before = self.changes;
        for (name, &kind) in &there {
            let stays = wanted.get(name).is_some_and(|&wanted| wanted == kind);
            if !stays && kind != WorkEntryKind::Special {
                write::remove_entry(&mut self.lister, to, name, kind)?;
                self.changes.removed += 1;
            }
        }
        let mut made = self.changes != before;
        for (name, &kind) in &wanted {
            if kind == WorkEntryKind::Special {
                self.changes.skipped += 1;
                continue;
            }
            let target = match there.get(name) {
                Some(&there) if there == kind => Some(statat(to, name, AtFlags::SYMLINK_NOFOLLOW)?),
                _ => None,
            };
            let pair = Pair {
                from,
                to,
                name,
                path: path.join(OsStr::from_bytes(name.to_bytes())),
                source: statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?,
                target,
            };
            made |= match kind {
                WorkEntryKind::Directory => self.subdirectory(&pair)?,
                WorkEntryKind::File => self.file(&pair)?,
                WorkEntryKind::Symlink => self.symlink(&pair)?,
                WorkEntryKind::Special => false,
            };
        }
        if made {
            write::set_directory_times(to, &rustix::fs::fstat(from)?)?;
        }
        Ok(())
    }

    fn by_name(&mut self, dir: BorrowedFd<'_>) -> io::Result<BTreeMap<CString, WorkEntryKind>> {
        let entries = self.lister.list(dir)?;
        Ok(entries
            .into_iter()
            .map(|entry| (entry.name, entry.kind))
            .collect())
    }

    /// Returns whether the parent directory was modified, like `file` and `symlink` below.
    fn subdirectory(&mut self, pair: &Pair<'_>) -> io::Result<bool> {
        let made = pair.target.is_none();
        if made {
            write::make_directory(pair.to, pair.name)?;
        }
        let from = open_dir(pair.from, pair.name)?;
        let to = open_dir(pair.to, pair.name)?;
        self.directory(from.as_fd(), to.as_fd(), &pair.path)?;
        if made {
            self.changes.created += 1;
            // Set these last: the mode may forbid writes, and creating entries changes the times.
            write::copy_attributes(pair.to, pair.name, &pair.source)?;
            write::set_directory_times(to.as_fd(), &pair.source)?;
        } else {
            self.attributes(pair)?;
        }
        Ok(made)
    }

    fn file(&mut self, pair: &Pair<'_>) -> io::Result<bool> {
        let has_names = pair.source.st_nlink > 1;
        let inode = (pair.source.st_dev, pair.source.st_ino);
        if let Some(target) = &pair.target
            && target.st_size == pair.source.st_size
            && write::same_content(pair.from, pair.to, pair.name)?
        {
            if has_names {
                self.linked
                    .entry(inode)
                    .or_insert_with(|| pair.path.clone());
            }
            self.attributes(pair)?;
            return Ok(false);
        }
        match self.linked.get(&inode) {
            Some(first) if has_names => {
                if pair.target.is_some() {
                    write::remove_entry(&mut self.lister, pair.to, pair.name, WorkEntryKind::File)?;
                }
                linkat(&self.target, first, pair.to, pair.name, AtFlags::empty())?;
            }
            _ => write::write_file(pair.from, pair.to, pair.name, &pair.source)?,
        }
        if has_names {
            self.linked.insert(inode, pair.path.clone());
        }
        self.count_written(pair);
        Ok(true)
    }

    fn symlink(&mut self, pair: &Pair<'_>) -> io::Result<bool> {
        let goal = readlinkat(pair.from, pair.name, Vec::new())?;
        if pair.target.is_some() {
            if readlinkat(pair.to, pair.name, Vec::new())? == goal {
                self.attributes(pair)?;
                return Ok(false);
            }
            write::remove_entry(&mut self.lister, pair.to, pair.name, WorkEntryKind::Symlink)?;
        }
        write::write_symlink(pair.to, pair.name, &goal, &pair.source)?;
        self.count_written(pair);
        Ok(true)
    }

    fn count_written(&mut self, pair: &Pair<'_>) {
        match pair.target {
            Some(_) => self.changes.rewritten += 1,
            None => self.changes.created += 1,
        }
    }

    /// Corrects the mode and owner of an entry whose content is unchanged.
    fn attributes(&mut self, pair: &Pair<'_>) -> io::Result<()> {
        let Some(target) = &pair.target else {
            return Ok(());
        };
        let of = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
        if of(target) != of(&pair.source) {
            write::copy_attributes(pair.to, pair.name, &pair.source)?;
            self.changes.attributes += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
