//! What the collector must leave for a save.
//!
//! Why these looks are enough is told in `docs/gc.md`.

use std::collections::HashSet;

use cachefs_store::gc::{LEASE, Needs};
use cachefs_store::id::LayerId;
use cachefs_store::refs::LayerInfo;
use cachefs_store::save::Packed;

/// What a save of a path needs that was restored with `base` at `restored`, in microseconds since
/// 1970, if it was at all. See [`Needs::of`].
pub(super) fn save_needs(
    stack: &[LayerInfo],
    parts: &[LayerInfo],
    base: &[LayerInfo],
    named: &HashSet<LayerId>,
    (restored, now): (Option<u64>, u64),
    packed: &Packed,
) -> Needs {
    let since = restored.unwrap_or(now);
    let is_old = u128::from(now.saturating_sub(since)) > LEASE.as_micros() / 2;
    let packs = packed.new_packs.iter().chain(packed.known_packs.values());
    Needs::of(stack, parts, base, named, is_old, packs.copied().collect())
}
