//! The record of a path while files are copied to it.
//!
//! Until the copy is complete, the path holds no key: the record says that it is incomplete, so
//! that a process that is killed leaves a path that no save takes for the whole cache.

use cachefs_store::progress::Progress;
use cachefs_store::restore::{CopyJob, is_empty_directory};

use super::copied_files;
use super::options::RestoreOptions;
use crate::error::{Result, describe_chain};
use crate::mounts::{How, Incomplete, MountRecord, MountRecords};
use crate::store_dir::StoreDir;

/// The record of one copy.
pub(super) struct CopyRecord<'a> {
    records: &'a MountRecords,
    /// The record of the complete copy.
    whole: MountRecord,
    /// The record of an earlier copy at the path.
    earlier: Option<MountRecord>,
    /// Whether the path may have files of another key, because an earlier copy of it was not
    /// removed.
    is_mixed: bool,
    /// The result of writing the record of the incomplete copy.
    noted: Result<()>,
    notes: Vec<String>,
}

impl<'a> CopyRecord<'a> {
    /// Reads the record of the path. Nothing is written yet.
    pub(super) fn begin(records: &'a MountRecords, whole: MountRecord) -> Result<Self> {
        let earlier = records
            .get(&whole.path)?
            .filter(|earlier| earlier.how == How::Copy);
        let is_mixed = earlier
            .as_ref()
            .and_then(|earlier| earlier.incomplete)
            .is_some_and(|earlier| earlier.mixed && earlier.is_at(&whole.path));
        Ok(Self {
            records,
            whole,
            earlier,
            is_mixed,
            noted: Ok(()),
            notes: Vec::new(),
        })
    }

    /// The record of the complete copy.
    pub(super) fn whole(&self) -> &MountRecord {
        &self.whole
    }

    /// Removes the unchanged files of an earlier version of the key that the new version does not
    /// have: they must not come back. Checks first that the disk has room for the new version.
    pub(super) fn remove_earlier_version(
        &mut self,
        store: &StoreDir,
        options: &RestoreOptions,
        job: &CopyJob<'_>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let earlier = self.earlier.take();
        let Some(earlier) = earlier.filter(|earlier| !earlier.same_layers(&self.whole)) else {
            return Ok(());
        };
        let freed = earlier.tree.map_or(u64::MAX, |tree| tree.bytes);
        job.check_room(&self.whole.path, freed, progress)?;
        let removed = copied_files::remove_leftovers(store, &earlier, Some(job.stack()), options);
        if let Err(error) = removed {
            self.notes.push(format!(
                "{} may have entries of an earlier version of the key: {}",
                self.whole.path.display(),
                describe_chain(&error)
            ));
        }
        Ok(())
    }

    /// Records that the copy is incomplete. A failure is reported after the copy, which may
    /// succeed although the store cannot be written to.
    pub(super) fn put_incomplete(&mut self) {
        self.noted = self.incomplete(self.is_mixed).and_then(|incomplete| {
            self.records.put(&MountRecord {
                incomplete: Some(incomplete),
                ..self.whole.clone()
            })
        });
    }

    fn incomplete(&self, mixed: bool) -> Result<Incomplete> {
        Incomplete::of(&self.whole.path, mixed)
    }

    /// Records that the copy failed: nothing if the path is empty again.
    pub(super) fn fail(&self) -> Result<()> {
        let path = &self.whole.path;
        if !path.exists() || is_empty_directory(path) {
            return self.records.remove(path);
        }
        if self.noted.is_err() {
            return Ok(());
        }
        self.records.put(&MountRecord {
            incomplete: Some(self.incomplete(true)?),
            ..self.whole.clone()
        })
    }

    /// Records the complete copy. Returns notes for the user.
    pub(super) fn complete(mut self) -> Result<Vec<String>> {
        let path = self.whole.path.display().to_string();
        if self.is_mixed {
            self.notes.push(format!(
                "{path} may still contain files of another key and cannot be saved; remove the \
                 directory and restore again"
            ));
            self.records.put(&MountRecord {
                incomplete: Some(Incomplete {
                    copied: true,
                    ..self.incomplete(true)?
                }),
                ..self.whole
            })?;
        } else if let Err(error) = self.noted.and_then(|()| self.records.put(&self.whole)) {
            // The files are there, even if the store cannot be written to.
            self.notes.push(format!(
                "cannot record the restore of {path}: {}; a save of it can only add to the key",
                describe_chain(&error)
            ));
        }
        Ok(self.notes)
    }
}
