//! Mounts that are replaced, changed and saved during a soak.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use anyhow::{Context, Result};

use super::CHURNERS;
use super::end::is_over;
use super::mount_slots::{Expected, Slot, Slots, SoakContents, SoakMount, cache_key};
use super::tally::Tally;
use crate::tools::cachefs::Store;

/// Size of a changed file, in bytes.
const CHANGE: usize = 50_000;

/// Replaces, changes and saves random mounts until the time is over. Each churner has its own share
/// of the slots: every `CHURNERS`th, starting at `own`.
pub(super) fn run_churn(
    slots: &Slots,
    contents: &SoakContents,
    store: &Store,
    tally: &Tally,
    own: usize,
    stop: &AtomicBool,
) {
    let slots: Vec<_> = slots.0.iter().skip(own).step_by(CHURNERS).collect();
    if slots.is_empty() {
        return;
    }
    let mut random = fastrand::Rng::with_seed(own as u64);
    for round in 0.. {
        if is_over(stop) {
            return;
        }
        let slot = slots[random.usize(..slots.len())];
        let cache = random.usize(..);
        let base = Arc::clone(contents.of(cache));
        let name = format!("changed-{own}-{round}");
        let done = show_key(slot, store, &cache_key(cache), base, tally)
            .and_then(|()| change_and_save(slot, store, &name, round, tally));
        // Operations that the end of the soak interrupts are not failures.
        if let Err(error) = done.with_context(|| slot.path.display().to_string())
            && !is_over(stop)
        {
            tally.failed(&error);
        }
    }
}

/// Mounts a key in place of the current mount.
fn show_key(
    slot: &Slot,
    store: &Store,
    key: &str,
    base: Arc<Vec<Expected>>,
    tally: &Tally,
) -> Result<()> {
    // The lock waits for readers of this mount. The content is replaced below, so poison is
    // harmless.
    let mut shown = slot.shown.write().unwrap_or_else(PoisonError::into_inner);
    remount_key(&slot.path, store, key, tally)?;
    *shown = SoakMount {
        base,
        changed: Vec::new(),
    };
    Ok(())
}

fn remount_key(path: &Path, store: &Store, key: &str, tally: &Tally) -> Result<()> {
    store.take_down(path)?;
    store.restore_expected(key, path)?;
    tally.remounts.fetch_add(1, Relaxed);
    Ok(())
}

/// Changes a mount, saves it while others read it, then remounts the saved cache.
fn change_and_save(
    slot: &Slot,
    store: &Store,
    name: &str,
    round: u64,
    tally: &Tally,
) -> Result<()> {
    {
        let mut shown = slot.shown.write().unwrap_or_else(PoisonError::into_inner);
        let over = shown.base[round as usize % shown.base.len()].path.clone();
        for path in [PathBuf::from("added"), over] {
            let content = format!("{name} {} ", path.display()).repeat(CHANGE / 20);
            fs::write(slot.path.join(&path), &content)?;
            shown.changed.push(Expected::new(path, content.as_bytes()));
        }
    }
    store.save(name, &slot.path)?;
    tally.saves.fetch_add(1, Relaxed);
    let shown = slot.shown.write().unwrap_or_else(PoisonError::into_inner);
    remount_key(&slot.path, store, name, tally)?;
    drop(shown);
    // The mount stays usable after the deletion, and the remote does not accumulate keys.
    store.delete(name)
}
