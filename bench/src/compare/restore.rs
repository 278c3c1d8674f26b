//! Restores: time until the directory is usable, and its first use.

use std::path::Path;

use anyhow::Result;

use super::{CompareRun, TINY, V1, quantity};
use crate::common::print_step;
use crate::dataset::{verify_content, verify_totals};
use crate::tools::cachefs::{RestoreForm, Store};
use crate::work::{find, read};
use crate::workspace;

/// Row labels for one way to restore.
struct Labels {
    requests: &'static str,
    ready: &'static str,
    ready_and_list: &'static str,
    list: &'static str,
    file: &'static str,
}

const WITHOUT_DAEMON: Labels = Labels {
    requests: "restore, no daemon yet",
    ready: "cachefs, no daemon yet",
    ready_and_list: "cachefs, no daemon yet, and first ls",
    list: "first ls, no daemon before",
    file: "first file, no daemon before",
};

const WITH_DAEMON: Labels = Labels {
    requests: "restore, daemon running",
    ready: "cachefs, daemon running",
    ready_and_list: "cachefs, daemon running, and first ls",
    list: "first ls, daemon running",
    file: "first file, daemon running",
};

impl CompareRun<'_> {
    /// Restores to plain files and compares them with the saved directory.
    pub(super) fn restore_copy(&mut self) -> Result<()> {
        print_step("cachefs: restore to a plain directory")?;
        let dir = self.setup.workspace.fresh("copied")?;
        let mut store = self.store("copy")?;
        let copied = self.with_traffic("restore --mode copy", |_| {
            let copied = store.restore(V1, &dir, RestoreForm::Copy)?;
            Ok((copied.finished, copied.answer.traffic))
        })?;
        self.recorder.time(
            quantity::COPY,
            "cachefs --mode copy, no daemon yet",
            copied.wall,
        );
        self.recorder.bytes(
            quantity::MEMORY,
            "cachefs restore --mode copy, command",
            copied.peak_memory,
        );
        let (_, totals) = find::find_tree(&dir)?;
        verify_totals("the copy", totals, self.subject.v1.totals)?;
        verify_content("the copy", &self.subject.plain, &dir)?;
        store.close()?;
        workspace::remove_directory(&dir)
    }

    /// Restores with no store and no daemon, then walks the tree twice.
    pub(super) fn restore_without_daemon(&mut self) -> Result<()> {
        print_step("cachefs: restore without a daemon, list, read one file, find")?;
        let path = self.setup.workspace.fresh("mounted")?;
        let mut store = self.store("cold")?;
        self.restore_and_use(&mut store, &path, &WITHOUT_DAEMON)?;
        let (cold, totals) = find::find_tree(&path)?;
        let (warm, _) = find::find_tree(&path)?;
        verify_totals("the mount", totals, self.subject.v1.totals)?;
        self.recorder.time(quantity::FIND, "cachefs, first", cold);
        self.recorder.time(quantity::FIND, "cachefs, again", warm);
        self.daemon_memory("cachefs mount, daemon after find", &store)?;
        store.close()
    }

    /// Restores with a running daemon that has already mounted another cache.
    pub(super) fn restore_with_daemon(&mut self) -> Result<()> {
        print_step("cachefs: restore with a daemon, list, read one file")?;
        let tiny = self.setup.workspace.fresh("mounted-tiny")?;
        let path = self.setup.workspace.fresh("mounted")?;
        let mut store = self.store("warm")?;
        store.restore(TINY, &tiny, RestoreForm::Mount)?;
        self.restore_and_use(&mut store, &path, &WITH_DAEMON)?;
        store.close()
    }

    fn restore_and_use(&mut self, store: &mut Store, path: &Path, labels: &Labels) -> Result<()> {
        let ready = self.with_traffic(labels.requests, |_| {
            let restored = store.restore(V1, path, RestoreForm::Mount)?;
            Ok((restored.finished.wall, restored.answer.traffic))
        })?;
        let list = find::list_directory(path)?;
        let file = read::read_file(&path.join(&self.subject.typical))?;
        let recorder = &mut *self.recorder;
        recorder.time(quantity::READY, labels.ready, ready);
        recorder.time(quantity::READY, labels.ready_and_list, ready + list);
        recorder.time(quantity::FIRST_FILE, labels.ready, ready + list + file);
        recorder.time(quantity::SINGLE, labels.list, list);
        recorder.time(quantity::SINGLE, labels.file, file);
        Ok(())
    }
}
