//! Reading all files through a mount.

use anyhow::Result;

use super::{CompareRun, V1, quantity};
use crate::common::print_step;
use crate::dataset::verify_totals;
use crate::tools::cachefs::RestoreForm;
use crate::work::read;

/// Row label for reads with an empty store and no running daemon.
const COLD: &str = "cachefs, no daemon yet";
/// Row label for reads after all files have been read once.
const WARM: &str = "cachefs";

impl CompareRun<'_> {
    /// Restores with a new store, then reads all files with two threads, again with two, and with
    /// one.
    pub(super) fn read_through_mount(&mut self) -> Result<()> {
        print_step("cachefs: restore, read all, read all again")?;
        let path = self.setup.workspace.fresh("mounted")?;
        let mut store = self.store("read")?;
        let (ready, cold, totals) = self.with_traffic("restore and read everything", |_| {
            let restored = store.restore(V1, &path, RestoreForm::Mount)?;
            let (cold, totals) = read::read_all_files(&path, 2)?;
            let traffic = store.daemon_traffic()?;
            Ok(((restored.finished.wall, cold, totals), traffic))
        })?;
        verify_totals("what was read", totals, self.subject.v1.totals)?;
        let (two, _) = read::read_all_files(&path, 2)?;
        let (one, again) = read::read_all_files(&path, 1)?;
        verify_totals("what was read again", again, self.subject.v1.totals)?;
        self.recorder.time(quantity::READ_COLD, COLD, ready + cold);
        self.recorder.time(quantity::READ_WARM, WARM, two);
        self.recorder.time(quantity::READ_WARM_ONE, WARM, one);
        self.daemon_memory("cachefs mount, daemon after reading all", &store)?;
        store.close()
    }

    /// Restores with a new store and reads all files with one thread, as most tools do.
    pub(super) fn read_with_one_thread(&mut self) -> Result<()> {
        print_step("cachefs: restore, read all with one thread")?;
        let path = self.setup.workspace.fresh("mounted")?;
        let mut store = self.store("read")?;
        let ready = store.restore(V1, &path, RestoreForm::Mount)?.finished.wall;
        let (cold, totals) = read::read_all_files(&path, 1)?;
        verify_totals("what was read", totals, self.subject.v1.totals)?;
        self.recorder
            .time(quantity::READ_COLD_ONE, COLD, ready + cold);
        store.close()
    }
}
