//! Runs a collection.

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

/// Number of objects that are deleted concurrently.
const REMOVALS: usize = 16;

/// The findings and effects of a run, or of a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcReport {
    /// The plan. It was executed unless this is a dry run.
    pub plan: GcPlan,
    /// Number of keys.
    pub keys: u64,
    /// Layers that keys reference and that do not exist; `check` lists the keys.
    pub missing: u64,
    /// Layers that keys reference and that cannot be read, with these keys. While there are any,
    /// packs that no readable layer references are kept.
    pub unreadable_layers: BTreeMap<LayerId, Vec<RefName>>,
    /// Records that cannot be read. The objects that they may reference are kept.
    pub unreadable: BTreeMap<RefName, Vec<UnreadableRecord>>,
}

/// Runs a collection: condemns unreferenced objects, and deletes those whose grace period is over.
///
/// Jobs may save, restore and delete at the same time, and several collectors may run. The run can
/// be killed at any point; the next run continues. It does not stop at unreadable records and
/// layers, but keeps every object that they may reference.
///
/// # Errors
///
/// [`Error::TookTooLong`] if the run started so long ago that its inventory is too old to act on.
///
/// # Examples
///
/// A dry run:
///
/// ```
/// use cachefs_store::gc::{DEFAULT_GRACE, GcOptions, collect_garbage};
/// use cachefs_store::id::SaveId;
/// use cachefs_store::progress::Silent;
/// use cachefs_store::remote::{RemoteSpec, RetryPolicy, open_remote};
///
/// # let dir = tempfile::tempdir()?;
/// # let url = format!("file://{}", dir.path().display());
/// let spec = RemoteSpec { url, ..RemoteSpec::default() };
/// let opened = open_remote(&spec, RetryPolicy::default())?;
/// let options = GcOptions {
///     grace: DEFAULT_GRACE,
///     older_than: None,
///     dry_run: true,
///     now: SaveId::now().micros,
/// };
/// let runtime = tokio::runtime::Runtime::new()?;
/// let report = runtime.block_on(collect_garbage(&opened.remote, &options, &Silent))?;
/// assert_eq!(report.keys, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
        // The monotonic clock stops while the machine is suspended, and the wall clock can be set,
        // so we use the larger of the two.
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

/// Executes the plan for an inventory, at the time `now` in microseconds since 1970.
///
/// The list is written first, so that savers are warned before anything is deleted. Then keys are
/// deleted, then layers, then their packs, and the list is written again. The grace period of newly
/// condemned objects starts at the first write, when savers can see them, not at the start of the
/// run.
///
/// Another collector may have written the list in the meantime. Its additions stay, and objects
/// that are no longer listed as this run saw them are not deleted now. `plan` is updated to
/// describe the effects.
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
    // Replaced even without new entries, because a torn list logs a warning in every save.
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
        // Deleting can take long, and other collectors may have added entries since.
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
