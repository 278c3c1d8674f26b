//! Reading everything through a mount.

use anyhow::Result;

use super::{Run, V1, quantity};
use crate::common::step;
use crate::subject::verify;
use crate::tools::cachefs::Mode;
use crate::work::read;

/// How the rows are called when nothing was there before.
const COLD: &str = "cachefs, no daemon yet";
/// How they are called when everything was read before.
const WARM: &str = "cachefs";

impl Run<'_> {
    /// Restores with a new store, reads everything with two threads, and again with two and one.
    pub(super) fn read_through_mount(&mut self) -> Result<()> {
        step("cachefs: restore, read all, read all again")?;
        let path = self.setup.workspace.fresh("mounted")?;
        let mut store = self.store("read")?;
        let (ready, cold, totals) = self.with_traffic("restore and read everything", |_| {
            let restored = store.restore(V1, &path, Mode::Mount)?;
            let (cold, totals) = read::all(&path, 2)?;
            let traffic = store.daemon_traffic()?;
            Ok(((restored.finished.wall, cold, totals), traffic))
        })?;
        verify("what was read", totals, self.subject.v1.totals)?;
        let (two, _) = read::all(&path, 2)?;
        let (one, again) = read::all(&path, 1)?;
        verify("what was read again", again, self.subject.v1.totals)?;
        self.recorder.time(quantity::READ_COLD, COLD, ready + cold);
        self.recorder.time(quantity::READ_WARM, WARM, two);
        self.recorder.time(quantity::READ_WARM_ONE, WARM, one);
        self.daemon_memory("cachefs mount, daemon after reading all", &store)?;
        store.close()
    }

    /// The same with one thread, which is what most tools have.
    pub(super) fn read_with_one_thread(&mut self) -> Result<()> {
        step("cachefs: restore, read all with one thread")?;
        let path = self.setup.workspace.fresh("mounted")?;
        let mut store = self.store("read")?;
        let ready = store.restore(V1, &path, Mode::Mount)?.finished.wall;
        let (cold, totals) = read::all(&path, 1)?;
        verify("what was read", totals, self.subject.v1.totals)?;
        self.recorder
            .time(quantity::READ_COLD_ONE, COLD, ready + cold);
        store.close()
    }
}
