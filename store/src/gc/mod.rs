//! Collection: removing what no key needs any more, while jobs go on saving.
//!
//! Nothing is removed when it is first found to be without use. It is *condemned*: put on a list
//! in the remote, with the time before which it stays. A later run removes it when that time has
//! come and there is still no use for it. Savers read the list: what is on it they do not build
//! upon, or only while there is time. So no lock is needed; why that is enough is told in
//! `docs/gc.md`.
//!
//! A run takes an [`Inventory`] of the remote, makes a [`GcPlan`] of it, which is a pure function,
//! and executes it.

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

/// The longest time between a saver's look at what is there and its record. A saver that takes
/// longer looks again before it publishes.
pub const LEASE: Duration = Duration::from_secs(3600);

/// The shortest grace that is safe while jobs save: the lease, and as much for clocks that differ.
pub const MIN_GRACE: Duration = Duration::from_secs(2 * 3600);

/// How long what is found to be without use stays unless told otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 3600);

/// How to collect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcOptions {
    /// How long what is found to be without use now stays: zero, which is safe only when nothing
    /// saves meanwhile, or at least [`MIN_GRACE`].
    pub grace: Duration,
    /// Also drops keys whose newest save is older than this.
    pub older_than: Option<Duration>,
    /// Only finds out what a run would do.
    pub dry_run: bool,
    /// When the run begins, in microseconds since 1970: before anything is read.
    pub now: u64,
}

impl GcOptions {
    /// How long a run may take from its beginning until it writes its list. One that takes longer
    /// is given up: another collector may meanwhile have condemned and removed what this one, by
    /// what it saw then, would take off the list.
    fn patience(&self) -> Option<Duration> {
        (!self.grace.is_zero()).then(|| self.grace.saturating_sub(LEASE))
    }
}

fn duration_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
