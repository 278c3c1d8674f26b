//! A run of the collector.

use super::GcOptions;
use super::condemned::Condemned;
use super::inventory::Inventory;
use super::plan::{Plan, plan};
use crate::error::Result;
use crate::layer;
use crate::pack;
use crate::parallel;
use crate::refs;
use crate::remote::{DynRemote, ObjectKey};
use crate::save::Progress;

/// So many objects are removed at a time.
const REMOVALS: usize = 16;

/// What a run found and did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The plan; it was executed unless it was a dry run.
    pub plan: Plan,
    /// Number of keys.
    pub keys: u64,
    /// Layers that keys name and that are not there: `check` says whose.
    pub missing: u64,
}

/// Collects: condemns what has no use, and removes what was condemned long enough ago.
///
/// Jobs may save, restore and delete meanwhile, other collectors may run, and it may be killed at
/// any point: the next run goes on. Fails, and removes nothing, when a record or a layer in use
/// can't be read or understood.
pub async fn collect(
    remote: &DynRemote,
    options: &GcOptions,
    progress: &dyn Progress,
) -> Result<Report> {
    let inventory = Inventory::take(remote, progress).await?;
    let plan = plan(&inventory, options);
    if !options.dry_run {
        execute(remote, &inventory.condemned, &plan, progress).await?;
    }
    Ok(Report {
        keys: inventory.saves.len() as u64,
        missing: inventory.missing.len() as u64,
        plan,
    })
}

/// Does what was planned of an inventory, whose list was `before`.
///
/// The list first, so that nothing is removed that savers are not warned of; then keys, layers
/// before their packs, and the list again.
pub async fn execute(
    remote: &DynRemote,
    before: &Condemned,
    plan: &Plan,
    progress: &dyn Progress,
) -> Result<()> {
    let differs = |a: &Condemned, b: &Condemned| a.layers != b.layers || a.packs != b.packs;
    if differs(before, &plan.list) {
        plan.list.write(remote).await?;
    }
    for key in &plan.dropped {
        refs::remove_saves(remote, &key.name, &key.saves).await?;
    }
    let removal = &plan.removal;
    let layers = removal.layers.iter().map(layer::object_key);
    remove(remote, layers.collect(), progress).await?;
    let packs = removal.packs.iter().map(pack::object_key);
    let traces = removal.traces.iter().cloned();
    remove(remote, packs.chain(traces).collect(), progress).await?;
    let afterwards = plan.list_afterwards();
    if differs(&plan.list, &afterwards) {
        afterwards.write(remote).await?;
    }
    Ok(())
}

async fn remove(
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
