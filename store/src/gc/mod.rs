//! Garbage collection: deletes unreferenced objects while jobs save and restore.
//!
//! An unreferenced object is not deleted when it is first found. It is *condemned*: added to a list
//! in the remote, with the end of its grace period. A later run deletes it if that time is over and
//! it is still unreferenced. Savers read the list and do not rely on condemned objects, or only
//! while there is time. So no lock is needed; `docs/gc.md` has the proof.
//!
//! A run reads an [`Inventory`] of the remote, turns it into a [`GcPlan`] with a pure function, and
//! executes the plan.

mod condemned;
mod confirm;
mod execute;
mod inventory;
#[cfg(test)]
mod model;
mod plan;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use condemned::{Condemned, object_key};
pub use confirm::{Needs, confirm_needs, publish_confirmed};
pub use execute::{GcReport, collect_garbage, execute_plan};
pub use inventory::{Inventory, UnreadableRecord};
pub use plan::{DropReason, DroppedKey, Garbage, GcPlan, Removal, plan_collection};

/// The longest time between a saver's check and its record. A saver that takes longer checks again
/// before it publishes.
pub const LEASE: Duration = Duration::from_secs(3600);

/// The shortest grace period that is safe while jobs save: the lease, and as much again for clocks
/// that differ.
pub const MIN_GRACE: Duration = Duration::from_secs(2 * 3600);

/// Default grace period.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 3600);

/// Options of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcOptions {
    /// Grace period of objects that this run condemns: at least [`MIN_GRACE`], or zero, which is
    /// safe only while nothing saves.
    pub grace: Duration,
    /// Also drops keys whose newest save is older than this.
    pub older_than: Option<Duration>,
    /// Only reports the effects of a run.
    pub dry_run: bool,
    /// Start of the run in microseconds since 1970: before anything is read.
    pub now: u64,
}

impl GcOptions {
    /// The longest time from the start of a run until it writes its list. A slower run gives up: in
    /// the meantime another collector may have condemned and deleted objects that this run, with
    /// its older inventory, would take off the list.
    fn patience(&self) -> Option<Duration> {
        (!self.grace.is_zero()).then(|| self.grace.saturating_sub(LEASE))
    }
}

fn duration_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
