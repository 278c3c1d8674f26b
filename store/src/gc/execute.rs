//! A run of the collector.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::condemned::Condemned;
use super::inventory::{Inventory, UnreadableRecord};
use super::plan::{GcPlan, plan_collection};
use super::{GcOptions, duration_micros};
use crate::error::{Error, Result};
use crate::id::{LayerId, SaveId};
use crate::layer;
use crate::pack;
use crate::parallel;
use crate::progress::Progress;
use crate::refs::{self, RefName};
use crate::remote::{DynRemote, ObjectKey};
use crate::repository::refuse_newer_format;

/// So many objects are removed at a time.
const REMOVALS: usize = 16;

/// What a run found and did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcReport {
    /// The plan; it was executed unless it was a dry run.
    pub plan: GcPlan,
    /// Number of keys.
    pub keys: u64,
    /// Layers that keys name and that are not there: `check` says whose.
    pub missing: u64,
    /// Layers that keys name and that cannot be read, with these keys. As long as there are any, packs
    /// that no other layer refers to are kept.
    pub unreadable_layers: BTreeMap<LayerId, Vec<RefName>>,
    /// Records that cannot be read. What they may name is kept.
    pub unreadable: BTreeMap<RefName, Vec<UnreadableRecord>>,
}

/// Collects: condemns what has no use, and removes what was condemned long enough ago.
///
/// Jobs may save, restore and delete meanwhile, other collectors may run, and it may be killed at
/// any point: the next run goes on. Records and layers that cannot be read do not stop it; what
/// they may lead to is kept.
///
/// # Errors
///
/// [`Error::TookTooLong`] when so much time has passed since it began that what it saw then is no
/// base for what it would do.
pub async fn collect_garbage(
    remote: &DynRemote,
    options: &GcOptions,
    progress: &dyn Progress,
) -> Result<GcReport> {
    let (started, wall) = (Instant::now(), SaveId::now().micros);
    refuse_newer_format(remote).await?;
    let inventory = Inventory::take(remote, progress).await?;
    let mut plan = plan_collection(&inventory, options);
    if !options.dry_run {
        // The first of these clocks stands still while the machine sleeps, the other can be set.
        let elapsed =
            duration_micros(started.elapsed()).max(SaveId::now().micros.saturating_sub(wall));
        let now = options.now.saturating_add(elapsed);
        execute_plan(remote, &inventory, &mut plan, options, now, progress).await?;
    }
    let names: BTreeSet<_> = inventory
        .saves
        .keys()
        .chain(inventory.unreadable.keys())
        .collect();
    Ok(GcReport {
        keys: names.len() as u64,
        missing: inventory.missing.len() as u64,
        unreadable_layers: inventory
            .unreadable_layers
            .iter()
            .map(|id| (*id, inventory.keys_of(id)))
            .filter(|(_, keys)| !keys.is_empty())
            .collect(),
        unreadable: inventory.unreadable,
        plan,
    })
}

/// Does what was planned of an inventory, at the time `now` in microseconds since 1970.
///
/// The list first, so that nothing is removed that savers are not warned of; then keys, layers
/// before their packs, and the list again. The grace of what is newly condemned counts from here,
/// when savers can see it, and not from when the run began.
///
/// Another collector may have written the list since. What it put there stays, and what is not on
/// the list any more as this run saw it is not removed now: `plan` then says what was done.
pub async fn execute_plan(
    remote: &DynRemote,
    inventory: &Inventory,
    plan: &mut GcPlan,
    options: &GcOptions,
    now: u64,
    progress: &dyn Progress,
) -> Result<()> {
    if let Some(patience) = options.patience()
        && now.saturating_sub(options.now) > duration_micros(patience)
    {
        return Err(Error::TookTooLong {
            what: "the run",
            limit: patience,
        });
    }
    let current = Condemned::read(remote).await?;
    plan.bring_up_to_date(inventory, &current, options, now);
    let differs = |a: &Condemned, b: &Condemned| a.layers != b.layers || a.packs != b.packs;
    // A torn list warns every saver, so it is replaced even if there is nothing to put on it.
    if current.is_torn || differs(&current, &plan.list) {
        plan.list.write(remote).await?;
    }
    for key in &plan.dropped {
        refs::remove_saves(remote, &key.name, &key.saves).await?;
    }
    let removal = &plan.removal;
    let layers = removal.layers.iter().map(layer::object_key);
    remove_objects(remote, layers.collect(), progress).await?;
    let packs = removal.packs.iter().map(pack::object_key);
    let traces = removal.traces.iter().cloned();
    remove_objects(remote, packs.chain(traces).collect(), progress).await?;
    if !removal.layers.is_empty() || !removal.packs.is_empty() {
        // Removing may have taken long, and others may have added to the list.
        let current = Condemned::read(remote).await?;
        let afterwards = plan.without_removed(&current);
        if differs(&current, &afterwards) {
            afterwards.write(remote).await?;
        }
    }
    Ok(())
}

async fn remove_objects(
    remote: &DynRemote,
    objects: Vec<ObjectKey>,
    progress: &dyn Progress,
) -> Result<()> {
    progress.total(objects.len() as u64, 0);
    let start = |object: ObjectKey| {
        let remote = remote.clone();
        async move { Ok(remote.delete(&object).await?) }
    };
    parallel::for_each(REMOVALS, objects, progress, start, |()| {
        progress.done(1, 0);
        Ok(())
    })
    .await
}
