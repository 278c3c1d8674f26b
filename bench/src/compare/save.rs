//! Saves: v1, then v2 through the mount and from a plain directory.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;
use cachefs_store::remote::ObjectKey;

use super::{CompareRun, TINY, V1, V2, quantity};
use crate::common::print_step;
use crate::dataset::{verify_content, verify_totals};
use crate::tools::cachefs::{RestoreForm, Store, TimedAnswer};
use crate::tools::json_answer::Save;
use crate::work::{find, read, sync};

impl CompareRun<'_> {
    /// Saves the plain directory to an empty remote, with a new store.
    pub(super) fn save_first(&mut self) -> Result<Store> {
        print_step("cachefs: save v1")?;
        let store = self.store("first")?;
        let saved = self.save("save v1", &store, V1, &self.subject.plain)?;
        let (_, bytes) = self.place.contents()?;
        self.recorder.time(
            quantity::SAVE_FIRST,
            "cachefs, no daemon yet",
            saved.finished.wall,
        );
        self.recorder.bytes(quantity::STORED, "cachefs", bytes);
        let peak = saved.finished.peak_memory;
        self.recorder
            .bytes(quantity::MEMORY, "cachefs save v1, command", peak);
        self.daemon_memory("cachefs save v1, daemon", &store)?;
        Ok(store)
    }

    /// Saves a second, tiny cache, whose restore starts a daemon without fetching data of v1.
    /// Returns the objects in the remote afterwards.
    pub(super) fn add_tiny(&mut self, store: &Store) -> Result<BTreeSet<ObjectKey>> {
        let dir = self.setup.workspace.fresh("tiny")?;
        fs::write(dir.join("file"), "tiny")?;
        store.save(TINY, &dir)?;
        Ok(self.place.contents()?.0)
    }

    /// Restores v1, changes it to v2 in place, and saves the mount.
    pub(super) fn save_through_mount(&mut self, before: &BTreeSet<ObjectKey>) -> Result<()> {
        print_step("cachefs: save v2 through the mount")?;
        let label = "cachefs, through the mount";
        let path = self.setup.workspace.fresh("mounted")?;
        let mut store = self.store("mount")?;
        store.restore(V1, &path, RestoreForm::Mount)?;
        let changes = sync::sync_directory(&self.subject.plain, &path)?;
        if changes.is_empty() {
            self.recorder.note("v1 and v2 are the same".to_owned());
        }
        rustix::fs::sync();
        let saved = self.save("save v2 through the mount", &store, V2, &path)?;
        self.recorder
            .time(quantity::SAVE_SECOND, label, saved.finished.wall);
        self.recorder
            .bytes(quantity::ADDED, label, self.place.size_without(before)?);
        let peak = saved.finished.peak_memory;
        self.recorder
            .bytes(quantity::MEMORY, "cachefs save v2, command", peak);
        self.daemon_memory("cachefs save v2, daemon", &store)?;
        store.close()?;
        self.check_second("v2 saved through the mount")
    }

    /// Saves the plain directory at v2 with the store that saved v1.
    pub(super) fn save_plain(
        &mut self,
        store: &mut Store,
        before: &BTreeSet<ObjectKey>,
    ) -> Result<()> {
        print_step("cachefs: save v2 from the plain directory")?;
        let label = "cachefs, plain directory";
        let saved = self.save(
            "save v2 from a plain directory",
            store,
            V2,
            &self.subject.plain,
        )?;
        self.recorder
            .time(quantity::SAVE_SECOND, label, saved.finished.wall);
        self.recorder
            .bytes(quantity::ADDED, label, self.place.size_without(before)?);
        store.stop()?;
        self.check_second("v2 saved from a plain directory")
    }

    fn save(
        &mut self,
        label: &'static str,
        store: &Store,
        key: &str,
        path: &Path,
    ) -> Result<TimedAnswer<Save>> {
        self.with_traffic(label, |_| {
            let saved = store.save(key, path)?;
            let traffic = saved.answer.traffic;
            Ok((saved, traffic))
        })
    }

    /// Restores v2 with a new store and compares it with the plain directory.
    fn check_second(&mut self, what: &str) -> Result<()> {
        print_step(&format!("check {what}"))?;
        let path = self.setup.workspace.fresh("mounted")?;
        let mut store = self.store("check")?;
        store.restore(V2, &path, RestoreForm::Mount)?;
        let (_, found) = find::find_tree(&path)?;
        let (_, read) = read::read_all_files(&path, 2)?;
        verify_totals(what, found, self.subject.v2.totals)?;
        verify_totals(what, read, self.subject.v2.totals)?;
        verify_content(what, &self.subject.plain, &path)?;
        store.close()
    }
}
