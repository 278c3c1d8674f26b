//! Plans a run: a pure function of the inventory.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::condemned::Condemned;
use super::inventory::Inventory;
use super::{GcOptions, duration_micros};
use crate::id::{LayerId, PackId, SaveId};
use crate::refs::{RefName, superseded_saves, unite_records};
use crate::remote::ObjectKey;

/// Reason for dropping a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// Its time to live is over.
    Expired,
    /// Its newest save is older than [`GcOptions::older_than`].
    Old,
}

/// A key that the run drops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedKey {
    /// The key.
    pub name: RefName,
    /// The reason.
    pub reason: DropReason,
    /// Time of its newest save in microseconds since 1970.
    pub newest: u64,
    /// The saves that this run saw. A save that is published in the meantime is kept.
    pub saves: Vec<SaveId>,
}

/// Totals of layers and packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Garbage {
    /// Number of layers.
    pub layers: u64,
    /// Number of packs.
    pub packs: u64,
    /// Size in bytes.
    pub bytes: u64,
}

/// The objects to delete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removal {
    /// Layers. They are deleted before the packs that they reference.
    pub layers: BTreeSet<LayerId>,
    /// Packs.
    pub packs: BTreeSet<PackId>,
    /// Traces that reference missing packs.
    pub traces: BTreeSet<ObjectKey>,
    /// Size of all in bytes.
    pub bytes: u64,
}

impl Removal {
    /// Totals of layers and packs; the bytes include traces.
    pub fn garbage(&self) -> Garbage {
        Garbage {
            layers: self.layers.len() as u64,
            packs: self.packs.len() as u64,
            bytes: self.bytes,
        }
    }
}

/// The effects of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcPlan {
    /// Keys to drop. Objects that they reference still count as referenced in this run.
    pub dropped: Vec<DroppedKey>,
    /// Objects that this run condemns.
    pub condemned: Garbage,
    /// Objects that were condemned earlier and whose grace period is not over.
    pub waiting: Garbage,
    /// Earliest time at which an object on the new list may be deleted.
    pub next: Option<u64>,
    /// Condemned objects that are referenced again.
    pub pardoned: u64,
    /// Objects to delete now.
    pub removal: Removal,
    /// Objects that keys reference.
    pub kept: Garbage,
    /// The list to write before the deletions.
    pub list: Condemned,
}

/// Plans a run.
///
/// An object is deleted if an earlier run condemned it, its grace period is over, and it is still
/// unreferenced. A pack counts as referenced as long as a layer exists that references it, even if
/// that layer is unreferenced itself: so every reader that finds a layer finds its packs. With a
/// grace period of zero, unreferenced objects are deleted at once.
pub fn plan_collection(inventory: &Inventory, options: &GcOptions) -> GcPlan {
    let mut plan = GcPlan {
        dropped: find_dropped_keys(inventory, options),
        ..GcPlan::default()
    };
    let at_once = options.grace.is_zero();
    let until = options.now.saturating_add(duration_micros(options.grace));
    let used_layers = used_layers(inventory, if at_once { &plan.dropped } else { &[] });
    let list = &inventory.condemned;
    for (layer, referring) in &inventory.layers {
        let stays = used_layers.contains(layer);
        let fate = object_fate(stays, list.layers.get(layer).copied(), until, options.now);
        plan.count(fate, true, referring.size);
        match fate {
            ObjectFate::Kept { .. } => {}
            ObjectFate::Condemned(until) | ObjectFate::Waiting(until) => {
                plan.list.layers.insert(*layer, until);
            }
            ObjectFate::Removed(until) => {
                plan.list.layers.insert(*layer, until);
                plan.removal.layers.insert(*layer);
            }
        }
    }
    let packs_of = |layers: &mut dyn Iterator<Item = &LayerId>| -> BTreeSet<PackId> {
        let referring = layers.filter_map(|layer| inventory.layers.get(layer));
        referring
            .flat_map(|layer| layer.packs.iter().copied())
            .collect()
    };
    let mut needed = packs_of(&mut used_layers.iter());
    let unreadable = inventory.unreadable.values().flatten();
    needed.extend(unreadable.flat_map(|record| record.packs.iter().copied()));
    let is_used = |id: &LayerId| used_layers.contains(id);
    let has_unreadable = inventory.unreadable_layers.iter().any(is_used);
    let referred = {
        let stay = |layer: &&LayerId| !plan.removal.layers.contains(layer);
        packs_of(&mut inventory.layers.keys().filter(stay))
    };
    for (pack, size) in &inventory.packs {
        let stays = needed.contains(pack);
        let listed = list.packs.get(pack).copied();
        let fate = match object_fate(stays, listed, until, options.now) {
            kept @ ObjectFate::Kept { .. } => kept,
            // A layer in use that cannot be read may reference any pack, even a listed one: a saver
            // may have read the list, and then published with a pack that was condemned afterwards.
            // Only its layer shows that.
            _ if has_unreadable => match listed {
                Some(until) => ObjectFate::Waiting(until),
                None => ObjectFate::Kept { pardoned: false },
            },
            ObjectFate::Removed(until) if referred.contains(pack) => ObjectFate::Waiting(until),
            fate => fate,
        };
        plan.count(fate, false, *size);
        match fate {
            ObjectFate::Kept { .. } => {}
            ObjectFate::Condemned(until) | ObjectFate::Waiting(until) => {
                plan.list.packs.insert(*pack, until);
            }
            ObjectFate::Removed(until) => {
                plan.list.packs.insert(*pack, until);
                plan.removal.packs.insert(*pack);
            }
        }
    }
    let left = plan.list_afterwards();
    plan.next = left
        .layers
        .values()
        .chain(left.packs.values())
        .min()
        .copied();
    let removal = &mut plan.removal;
    for (trace, referring) in &inventory.traces {
        let is_there =
            |pack: &PackId| inventory.packs.contains_key(pack) && !removal.packs.contains(pack);
        if referring.packs.is_empty() || !referring.packs.iter().all(is_there) {
            removal.traces.insert(trace.clone());
            removal.bytes += referring.size;
        }
    }
    plan
}

/// The fate of an object; times are the end of its grace period.
#[derive(Debug, Clone, Copy)]
enum ObjectFate {
    Kept { pardoned: bool },
    Condemned(u64),
    Waiting(u64),
    Removed(u64),
}

fn object_fate(is_used: bool, listed: Option<u64>, until: u64, now: u64) -> ObjectFate {
    match listed {
        _ if is_used => ObjectFate::Kept {
            pardoned: listed.is_some(),
        },
        // A grace period of zero also deletes objects that wait for an earlier one.
        _ if until <= now => ObjectFate::Removed(now),
        None => ObjectFate::Condemned(until),
        Some(until) if until > now => ObjectFate::Waiting(until),
        Some(until) => ObjectFate::Removed(until),
    }
}

impl GcPlan {
    fn count(&mut self, fate: ObjectFate, is_layer: bool, size: u64) {
        let counted = match fate {
            ObjectFate::Kept { pardoned } => {
                self.pardoned += u64::from(pardoned);
                &mut self.kept
            }
            ObjectFate::Condemned(_) => &mut self.condemned,
            ObjectFate::Waiting(_) => &mut self.waiting,
            ObjectFate::Removed(_) => {
                self.removal.bytes += size;
                return;
            }
        };
        *if is_layer {
            &mut counted.layers
        } else {
            &mut counted.packs
        } += 1;
        counted.bytes += size;
    }

    /// Adapts the plan to the list as it is at the time of execution.
    pub(super) fn bring_up_to_date(
        &mut self,
        inventory: &Inventory,
        current: &Condemned,
        options: &GcOptions,
        now: u64,
    ) {
        let until = now.saturating_add(duration_micros(options.grace));
        let seen = &inventory.condemned;
        let at_once = options.grace.is_zero();
        // Savers could not see an entry while it was missing from the list.
        let planned = self.removal.layers.clone();
        let layers = &mut self.removal.layers;
        layers.retain(|id| at_once || current.layers.get(id) == self.list.layers.get(id));
        merge_condemned(&mut self.list.layers, &seen.layers, &current.layers, until);
        // Every reader that finds a layer must find its packs.
        let staying = inventory.layers.iter();
        let staying = staying.filter(|(id, _)| !self.removal.layers.contains(id));
        let referred: BTreeSet<_> = staying.flat_map(|(_, layer)| &layer.packs).collect();
        // The packs of an unreadable layer are unknown. If this run was to delete such a layer and
        // now keeps it, all packs have to wait with it.
        let spared = |id: &LayerId| planned.contains(id) && !self.removal.layers.contains(id);
        let is_any_unreadable = inventory.unreadable_layers.iter().any(spared);
        let packs = &mut self.removal.packs;
        packs.retain(|id| {
            let as_seen = current.packs.get(id) == self.list.packs.get(id);
            at_once || (as_seen && !referred.contains(id) && !is_any_unreadable)
        });
        merge_condemned(&mut self.list.packs, &seen.packs, &current.packs, until);
        let left = self.list_afterwards();
        self.next = left
            .layers
            .values()
            .chain(left.packs.values())
            .min()
            .copied();
        let removal = &mut self.removal;
        let layers = removal
            .layers
            .iter()
            .filter_map(|id| inventory.layers.get(id));
        let packs = removal
            .packs
            .iter()
            .filter_map(|id| inventory.packs.get(id));
        let traces = removal
            .traces
            .iter()
            .filter_map(|key| inventory.traces.get(key));
        let bytes = layers.chain(traces).map(|it| it.size).chain(packs.copied());
        removal.bytes = bytes.sum();
    }

    /// The list to write after the deletions.
    fn list_afterwards(&self) -> Condemned {
        self.without_removed(&self.list)
    }

    /// A list without the objects that this plan deletes.
    pub(super) fn without_removed(&self, list: &Condemned) -> Condemned {
        let mut list = list.clone();
        list.layers
            .retain(|layer, _| !self.removal.layers.contains(layer));
        list.packs
            .retain(|pack, _| !self.removal.packs.contains(pack));
        list
    }
}

/// Merges the planned list with `current`, the list in the remote. `seen` is the list that the run
/// read when it started. Entries that are new, or that were lost in between, are kept until `until`
/// at least.
fn merge_condemned<T: Ord + Copy>(
    planned: &mut BTreeMap<T, u64>,
    seen: &BTreeMap<T, u64>,
    current: &BTreeMap<T, u64>,
    until: u64,
) {
    for (id, planned) in planned.iter_mut() {
        *planned = match current.get(id) {
            Some(current) => (*planned).max(*current),
            None => (*planned).max(until),
        };
    }
    for (id, until) in current {
        // Another collector added it after this run had read the list, so this run must not pardon
        // it.
        if seen.get(id) != Some(until) {
            planned.entry(*id).or_insert(*until);
        }
    }
}

fn find_dropped_keys(inventory: &Inventory, options: &GcOptions) -> Vec<DroppedKey> {
    let mut dropped = Vec::new();
    for (name, newest) in &inventory.newest {
        let (newest, records) = (*newest, inventory.saves.get(name));
        let records = records.map_or(&[][..], Vec::as_slice);
        let unreadable = inventory.unreadable.get(name).into_iter().flatten();
        let unreadable: Vec<_> = unreadable.map(|record| record.save).collect();
        if records.is_empty() && unreadable.is_empty() {
            continue;
        }
        let (_, current) = unite_records(records.to_vec());
        // The expiry of an unreadable record is unknown.
        let is_expired =
            unreadable.is_empty() && current.iter().all(|record| record.is_expired(options.now));
        let is_old = options
            .older_than
            .is_some_and(|age| newest.saturating_add(duration_micros(age)) < options.now);
        let reason = match (is_expired, is_old) {
            (true, _) => DropReason::Expired,
            (false, true) => DropReason::Old,
            (false, false) => continue,
        };
        dropped.push(DroppedKey {
            name: name.clone(),
            reason,
            newest,
            saves: superseded_saves(records)
                .into_iter()
                .chain(unreadable)
                .collect(),
        });
    }
    dropped
}

fn used_layers(inventory: &Inventory, without: &[DroppedKey]) -> BTreeSet<LayerId> {
    let is_dropped = |name: &RefName| without.iter().any(|dropped| dropped.name == *name);
    inventory
        .saves
        .iter()
        .filter(|(name, _)| !is_dropped(name))
        .flat_map(|(_, records)| records)
        .flat_map(|record| record.layers.iter().map(|layer| layer.id))
        .chain(
            inventory
                .unreadable
                .iter()
                .filter(|(name, _)| !is_dropped(name))
                .flat_map(|(_, records)| records)
                .flat_map(|record| record.layers.iter().copied()),
        )
        .collect()
}
