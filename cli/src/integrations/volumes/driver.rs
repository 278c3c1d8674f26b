//! Handles the requests of an engine.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use cachefs::mounts::{Presence, set_aside};
use cachefs::{Error, StoreDir, Unsaved};
use cachefs_store::id::SaveId;
use parking_lot::{Mutex, MutexGuard};

use super::record::{VolumeHolder, VolumeRecord, VolumeRecords, boot_id};
use super::work::PendingWork;
use crate::detect::holds_something;
use crate::integrations::container_cache::check_name;
use crate::integrations::container_cache::{Cycle, Refusal, clear_directory};
use crate::integrations::container_cache::{Defaults, Purpose, VolumeOptions};
use crate::output;

/// Number of saves that crash the plugin before we give up a volume.
const BROKEN_SAVES: u32 = 2;

/// The engine that sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The engine's timeout, less a margin. Longer work continues after the response.
    pub(crate) patience: Duration,
    /// Whether the engine's processes, and so those of its containers, are visible in our PID
    /// namespace.
    pub(crate) visible: bool,
}

/// The volumes of a store, as one driver.
pub(crate) struct VolumeDriver {
    store: StoreDir,
    defaults: Defaults,
    records: VolumeRecords,
    locks: Mutex<HashMap<String, Arc<Mutex<()>>>>,
    work: Arc<PendingWork>,
}

/// A volume and its mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Info {
    /// Its record.
    pub(crate) volume: VolumeRecord,
    /// The path of its files while it is mounted.
    pub(crate) mountpoint: Option<PathBuf>,
}

impl VolumeDriver {
    /// Opens the volumes of a store.
    ///
    /// # Errors
    ///
    /// If another plugin serves them, or their folder cannot be created.
    pub(crate) fn new(store: StoreDir, defaults: Defaults) -> Result<Self, Error> {
        Ok(Self {
            records: VolumeRecords::new(&store)?,
            store,
            defaults,
            locks: Mutex::default(),
            work: Arc::default(),
        })
    }

    /// Creates a volume, or checks that it exists with the same options.
    ///
    /// # Errors
    ///
    /// If the options are invalid, or a volume with this name and other options is in use.
    pub(crate) fn create(
        &self,
        caller: Caller,
        name: &str,
        options: BTreeMap<String, String>,
    ) -> Result<(), Refusal> {
        check_name(name)?;
        self.read(name, &options)?;
        let _busy = self.work.begin();
        let lock = self.locks_of(name);
        let _lock = wait_for(&lock, caller, name)?;
        if let Some(known) = self.records.get(name)? {
            if known.options == options {
                return Ok(());
            }
            if known.shown || !known.holders.is_empty() {
                return Err(Refusal::new(
                    format!("the volume {name} exists with other options, and is in use"),
                    "remove it first, or give this one another name",
                ));
            }
        }
        Ok(self.records.put(&VolumeRecord {
            name: name.to_owned(),
            options,
            created: SaveId::now().micros,
            holders: Vec::new(),
            shown: false,
            boot: boot_id(),
            last: None,
            broken_saves: 0,
        })?)
    }

    /// Removes a volume, including unsaved changes.
    ///
    /// # Errors
    ///
    /// If containers still use it.
    pub(crate) fn remove(&self, caller: Caller, name: &str) -> Result<(), Refusal> {
        let _busy = self.work.begin();
        let lock = self.locks_of(name);
        let _lock = wait_for(&lock, caller, name)?;
        let mut volume = self.get_volume(name)?;
        self.forget_other_boots(&mut volume)?;
        if !volume.holders.is_empty() {
            return Err(Refusal::new(
                format!(
                    "the volume {name} is in use by {}",
                    output::format_count(volume.holders.len() as u64, "container")
                ),
                "stop them first",
            ));
        }
        if volume.shown {
            output::log_text(&format!("warning: {name}: removed with unsaved changes"));
        }
        clear_directory(&self.store, &self.records.data(name))?;
        self.records.remove(name)?;
        // Engines create anonymous volumes with ever new names, so we drop unused locks. A lock
        // with waiters must stay, so that all of them use the same one.
        let mut locks = self.locks.lock();
        if Arc::strong_count(&lock) <= 2 {
            locks.remove(name);
        }
        Ok(())
    }

    /// Mounts a volume for a container; the first mount triggers the restore. Returns the path of
    /// its files.
    ///
    /// Idempotent for the same `id`, because engines repeat requests after a timeout.
    ///
    /// # Errors
    ///
    /// If there is no such volume, and those of [`Cycle::begin`].
    pub(crate) fn mount(&self, caller: Caller, name: &str, id: &str) -> Result<PathBuf, Refusal> {
        let _busy = self.work.begin();
        let lock = self.locks_of(name);
        let _lock = wait_for(&lock, caller, name)?;
        let mut volume = self.get_volume(name)?;
        self.forget_other_boots(&mut volume)?;
        let data = self.records.data(name);
        let mut request = self.read(name, &volume.options)?;
        let timeout = &mut request.cache.restore.restore_timeout;
        timeout.get_or_insert(caller.patience);
        let cycle = Cycle::new(&self.store, &request);
        if !volume.shown || cycle.is(Presence::Absent)? {
            volume.last = Some(cycle.begin()?);
        } else if cycle.is(Presence::Dead)? {
            volume.last = Some(cycle.begin()?);
            if !volume.holders.is_empty() {
                output::log_text(&format!(
                    "warning: {name}: the mount was dead and is repaired for new containers; running ones keep the dead mount: restart them"
                ));
            }
        } else if volume.holders.is_empty() {
            output::log_text(&format!(
                "note: {name}: keeps the changes of earlier containers, which could not be saved"
            ));
        }
        volume.shown = true;
        if volume.holders.iter().all(|holder| holder.id != id) {
            volume.holders.push(VolumeHolder {
                id: id.to_owned(),
                since: SaveId::now().micros,
                visible: caller.visible,
            });
        }
        self.records.put(&volume)?;
        Ok(data)
    }

    /// Releases a container's mount of a volume; the last one triggers the save. Returns after the
    /// save, or when the engine's timeout approaches; then the save continues.
    ///
    /// # Errors
    ///
    /// If there is no such volume; with `strict-errors`, also if the save fails.
    pub(crate) fn unmount(
        self: &Arc<Self>,
        caller: Caller,
        name: &str,
        id: &str,
    ) -> Result<(), Refusal> {
        let (volumes, name, id) = (Arc::clone(self), name.to_owned(), id.to_owned());
        let (sender, ended) = channel();
        // Begin before the thread runs, so that a shutdown waits for it.
        let busy = self.work.begin();
        let work = move || {
            let _busy = busy;
            let outcome = volumes.release(&name, |holder| holder.id == id);
            // The receiver is gone if we responded before the end of the save.
            let _ = sender.send(outcome);
        };
        std::thread::Builder::new()
            .name("unmount".to_owned())
            .spawn(work)
            .map_err(Error::io("start", "a thread"))?;
        match ended.recv_timeout(caller.patience) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(Refusal::new(
                "the save failed",
                "the plugin's log has the reason; its next start saves the volume",
            )),
        }
    }

    /// Removes holders; with the last one, saves and unmounts the volume.
    pub(super) fn release(
        &self,
        name: &str,
        gone: impl Fn(&VolumeHolder) -> bool,
    ) -> Result<(), Refusal> {
        let _busy = self.work.begin();
        let lock = self.locks_of(name);
        let _lock = lock.lock();
        let mut volume = self.get_volume(name)?;
        let before = volume.holders.len();
        volume.holders.retain(|holder| !gone(holder));
        if volume.holders.len() == before {
            return Ok(());
        }
        self.records.put(&volume)?;
        match volume.holders.is_empty() {
            true => self.end(volume),
            false => Ok(()),
        }
    }

    /// Saves a volume that the previous plugin did not save.
    pub(super) fn finish(&self, name: &str) -> Result<(), Refusal> {
        let _busy = self.work.begin();
        let lock = self.locks_of(name);
        let _lock = lock.lock();
        let mut volume = self.get_volume(name)?;
        self.forget_other_boots(&mut volume)?;
        match volume.shown && volume.holders.is_empty() {
            true => self.end(volume),
            false => Ok(()),
        }
    }

    /// Saves and unmounts a volume without holders.
    fn end(&self, mut volume: VolumeRecord) -> Result<(), Refusal> {
        let request = self.read(&volume.name, &volume.options)?;
        if volume.broken_saves >= BROKEN_SAVES {
            return self.give_up(volume);
        }
        // Recorded before the save, because the save runs in this process: a tree that crashes it
        // would crash every later plugin as well.
        volume.broken_saves += 1;
        self.records.put(&volume)?;
        let outcome = Cycle::new(&self.store, &request).end();
        volume.broken_saves = 0;
        match outcome {
            Ok(done) => {
                volume.shown = false;
                volume.last = Some(done);
                Ok(self.records.put(&volume)?)
            }
            Err(refusal) => {
                Refusal::new(
                    refusal.message.clone(),
                    "the volume keeps its changes for the next container, and is saved after that or when the plugin restarts",
                )
                .say("warning", &volume.name);
                volume.last = Some(format!("not saved: {}", refusal.message));
                self.records.put(&volume)?;
                match request.global.strict_errors {
                    true => Err(refusal),
                    false => Ok(()),
                }
            }
        }
    }

    /// Moves the files of a volume to a place where users can inspect them, without reading the
    /// files.
    fn give_up(&self, mut volume: VolumeRecord) -> Result<(), Refusal> {
        let data = self.records.data(&volume.name);
        let aside = match set_aside(&self.store, &data)? {
            Some(upper) => Some(upper),
            // A plain directory without a mount.
            None if holds_something(&data) => {
                Some(Unsaved::new(&self.store).add(&data, OsStr::new(&volume.name))?)
            }
            None => None,
        };
        let place = aside.map_or_else(String::new, |aside| {
            format!(
                "; its unsaved changes are in {}",
                output::format_path(&aside)
            )
        });
        Refusal::new(
            format!("the plugin crashed {BROKEN_SAVES} times while it saved this volume; it is not saved{place}"),
            "look for huge or deeply nested files there, and delete it when it is not needed",
        )
        .say("warning", &volume.name);
        volume.shown = false;
        volume.broken_saves = 0;
        volume.last = Some("not saved: the plugin crashed twice while saving it".to_owned());
        Ok(self.records.put(&volume)?)
    }

    /// Describes a volume.
    ///
    /// # Errors
    ///
    /// If there is no such volume.
    pub(crate) fn get(&self, name: &str) -> Result<Info, Refusal> {
        Ok(self.info(self.get_volume(name)?))
    }

    /// All volumes, sorted by name.
    ///
    /// # Errors
    ///
    /// If they cannot be listed.
    pub(crate) fn list(&self) -> Result<Vec<Info>, Refusal> {
        let all = self.records.all()?.into_iter();
        Ok(all.map(|volume| self.info(volume)).collect())
    }

    /// Waits until no work is in progress.
    pub(super) fn wait_until_idle(&self) {
        self.work.wait_until_idle();
    }

    /// The store of the volumes.
    pub(super) fn store(&self) -> &StoreDir {
        &self.store
    }

    /// The path of a volume's files while it is mounted.
    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.records.data(name)
    }

    fn info(&self, volume: VolumeRecord) -> Info {
        let is_held = !volume.holders.is_empty() && volume.boot == boot_id();
        Info {
            mountpoint: is_held.then(|| self.records.data(&volume.name)),
            volume,
        }
    }

    /// Parses a volume's options into a cache.
    pub(super) fn read(
        &self,
        name: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<VolumeOptions, Refusal> {
        let shown = self.records.data(name);
        Ok(self.defaults.read(Purpose::Volume, name, options, &shown)?)
    }

    fn get_volume(&self, name: &str) -> Result<VolumeRecord, Refusal> {
        check_name(name)?;
        self.records.get(name)?.ok_or_else(|| {
            Refusal::new(
                format!("no volume {name}"),
                "create it with an option `key`; a plugin with another --store may have it",
            )
        })
    }

    /// Drops holders and mounts of an earlier boot. Unsaved changes may be torn, so we move them
    /// aside.
    fn forget_other_boots(&self, volume: &mut VolumeRecord) -> Result<(), Refusal> {
        if volume.boot == boot_id() {
            return Ok(());
        }
        let data = self.records.data(&volume.name);
        if volume.shown && holds_something(&data) {
            let aside = Unsaved::new(&self.store).add(&data, OsStr::new(&volume.name))?;
            output::log_text(&format!(
                "note: {}: unsaved changes from before the reboot are in {}",
                volume.name,
                output::format_path(&aside)
            ));
        }
        volume.holders.clear();
        volume.shown = false;
        volume.boot = boot_id();
        Ok(self.records.put(volume)?)
    }

    fn locks_of(&self, name: &str) -> Arc<Mutex<()>> {
        Arc::clone(self.locks.lock().entry(name.to_owned()).or_default())
    }
}

/// Waits until no other operation uses the volume.
fn wait_for<'a>(
    lock: &'a Mutex<()>,
    caller: Caller,
    name: &str,
) -> Result<MutexGuard<'a, ()>, Refusal> {
    lock.try_lock_for(caller.patience).ok_or_else(|| {
        Refusal::new(
            format!("the volume {name} is still being saved or restored"),
            "try again later; the plugin's log shows the progress",
        )
    })
}
