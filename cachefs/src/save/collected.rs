//! What the collector must leave for a save, right before it is published.
//!
//! Why these looks are enough is told in `docs/gc.md`.

use std::collections::HashSet;

use cachefs_store::gc::{LEASE, Needs, confirm};
use cachefs_store::id::LayerId;
use cachefs_store::refs::LayerInfo;
use cachefs_store::save::Packed;

use super::Context;
use super::publish::now_micros;
use crate::error::Result;

/// Refuses to publish a stack that lacks layers or packs, or soon may.
///
/// `named` are the layers that the key's records named when the save began: those are there. The
/// others in `base`, what the path was restored with, are doubtful unless it was restored just now:
/// at `restored`, in microseconds since 1970, if it was at all.
pub(super) fn confirm_all(
    context: &Context<'_>,
    base: &[LayerInfo],
    restored: Option<u64>,
    named: &HashSet<LayerId>,
    stack: &[LayerInfo],
    packed: &Packed,
) -> Result<()> {
    let now = now_micros();
    let since = restored.unwrap_or(now);
    let is_old = u128::from(now.saturating_sub(since)) > LEASE.as_micros() / 2;
    let base = base.iter().map(|layer| layer.id);
    let needs = Needs {
        layers: stack.iter().map(|layer| layer.id).collect(),
        doubtful: base
            .filter(|layer| is_old && !named.contains(layer))
            .collect(),
        packs: packed
            .new_packs
            .iter()
            .chain(packed.known_packs.values())
            .copied()
            .collect(),
    };
    let (remote, condemned) = (&context.remote, &context.target.condemned);
    let confirmed = context
        .runtime
        .block_on(confirm(remote, condemned, &needs, now));
    Ok(confirmed?)
}
