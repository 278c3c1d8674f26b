//! cachefs itself, in both forms.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::peer::{Peer, Restored, Seat, Version};
use crate::tools::cachefs::{Mode, Store};
use crate::work::sync;

/// cachefs.
pub(super) struct Cachefs<'a> {
    mode: Mode,
    /// Of the machine that saves.
    saver: Store,
    /// Of the machine that restores.
    restorer: Option<Store>,
    seat: Seat<'a>,
}

impl Cachefs<'_> {
    pub(super) fn mount(seat: Seat<'_>) -> Result<Box<dyn Peer + '_>> {
        Cachefs::make(seat, Mode::Mount)
    }

    pub(super) fn copy(seat: Seat<'_>) -> Result<Box<dyn Peer + '_>> {
        Cachefs::make(seat, Mode::Copy)
    }

    fn make(seat: Seat<'_>, mode: Mode) -> Result<Box<dyn Peer + '_>> {
        let saver = Self::store(&seat, "saver");
        Ok(Box::new(Cachefs {
            mode,
            saver,
            restorer: None,
            seat,
        }))
    }

    fn store(seat: &Seat<'_>, machine: &str) -> Store {
        let cachefs = seat.place.cachefs(&seat.setup.program);
        cachefs.store(seat.local.join(machine))
    }
}

impl Peer for Cachefs<'_> {
    fn save(&mut self, version: Version, dir: &Path) -> Result<Duration> {
        let saved = if version == Version::Second && self.mode == Mode::Mount {
            let restored = self.restore()?;
            sync::sync(dir, &restored.path)?;
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

    fn restore(&mut self) -> Result<Restored> {
        let path = self.seat.fresh("restored")?;
        let mut store = Self::store(&self.seat, "restorer");
        let restored = store.restore(Version::First.name(), &path, self.mode);
        self.restorer = Some(store);
        let wall = restored?.finished.wall;
        Ok(Restored { wall, path })
    }

    fn release(&mut self) -> Result<()> {
        if let Some(store) = self.restorer.take() {
            store.close()?;
        }
        crate::workspace::remove(&self.seat.local.join("restored"))
    }
}
