//! cachefs itself, as mount and as plain copy.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::peer::{Peer, PeerRestore, PeerVersion, PeerWorkspace};
use crate::tools::cachefs::{RestoreForm, Store};
use crate::work::sync;

/// cachefs with one restore form.
pub(super) struct CachefsPeer<'a> {
    mode: RestoreForm,
    /// Store of the saving machine.
    saver: Store,
    /// Store of the restoring machine.
    restorer: Option<Store>,
    seat: PeerWorkspace<'a>,
}

impl CachefsPeer<'_> {
    pub(super) fn mount(seat: PeerWorkspace<'_>) -> Result<Box<dyn Peer + '_>> {
        CachefsPeer::make(seat, RestoreForm::Mount)
    }

    pub(super) fn copy(seat: PeerWorkspace<'_>) -> Result<Box<dyn Peer + '_>> {
        CachefsPeer::make(seat, RestoreForm::Copy)
    }

    fn make(seat: PeerWorkspace<'_>, mode: RestoreForm) -> Result<Box<dyn Peer + '_>> {
        let saver = Self::store(&seat, "saver");
        Ok(Box::new(CachefsPeer {
            mode,
            saver,
            restorer: None,
            seat,
        }))
    }

    fn store(seat: &PeerWorkspace<'_>, machine: &str) -> Store {
        let cachefs = seat.place.cachefs(&seat.setup.program);
        cachefs.store(seat.local.join(machine))
    }
}

impl Peer for CachefsPeer<'_> {
    fn save(&mut self, version: PeerVersion, dir: &Path) -> Result<Duration> {
        let saved = if version == PeerVersion::Second && self.mode == RestoreForm::Mount {
            let restored = self.restore()?;
            sync::sync_directory(dir, &restored.path)?;
            rustix::fs::sync();
            let store = self.restorer.as_ref().unwrap_or(&self.saver);
            let saved = store.save(version.name(), &restored.path)?;
            self.release()?;
            saved
        } else {
            let saved = self.saver.save(version.name(), dir)?;
            self.saver.stop()?;
            saved
        };
        Ok(saved.finished.wall)
    }

    fn stored(&self) -> Result<u64> {
        Ok(self.seat.place.contents()?.1)
    }

    fn restore(&mut self) -> Result<PeerRestore> {
        let path = self.seat.fresh("restored")?;
        let mut store = Self::store(&self.seat, "restorer");
        let restored = store.restore(PeerVersion::First.name(), &path, self.mode);
        self.restorer = Some(store);
        let wall = restored?.finished.wall;
        Ok(PeerRestore { wall, path })
    }

    fn release(&mut self) -> Result<()> {
        if let Some(store) = self.restorer.take() {
            store.close()?;
        }
        crate::workspace::remove_directory(&self.seat.local.join("restored"))
    }
}
