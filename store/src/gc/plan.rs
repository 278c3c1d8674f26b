//! What a run would do: a pure function of what there is.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::condemned::Condemned;
use super::inventory::Inventory;
use super::{GcOptions, duration_micros};
use crate::id::{LayerId, PackId, SaveId};
use crate::refs::{RefName, superseded_saves, unite_records};
use crate::remote::ObjectKey;

/// Why a key is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The time that its save gave it is over.
    Expired,
    /// It was not saved for longer than asked for.
    Old,
}

/// A key that is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedKey {
    /// The key.
    pub name: RefName,
    /// Why.
    pub reason: DropReason,
    /// Its newest save, in microseconds since 1970.
    pub newest: u64,
    /// The saves that were seen; one that is published meanwhile stays.
    pub saves: Vec<SaveId>,
}

/// Layers and packs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Garbage {
    /// Number of layers.
    pub layers: u64,
    /// Number of packs.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What is removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removal {
    /// Layers; they go before the packs that they refer to.
    pub layers: BTreeSet<LayerId>,
    /// Packs.
    pub packs: BTreeSet<PackId>,
    /// Traces, which name packs that are gone.
    pub traces: BTreeSet<ObjectKey>,
    /// Bytes of all.
    pub bytes: u64,
}

impl Removal {
    /// Layers and packs in numbers; the bytes are those of traces, too.
    pub fn garbage(&self) -> Garbage {
        Garbage {
            layers: self.layers.len() as u64,
            packs: self.packs.len() as u64,
            bytes: self.bytes,
        }
    }
}

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcPlan {
    /// Keys that are dropped. What they need counts as needed in this run.
    pub dropped: Vec<DroppedKey>,
    /// What was found to be without use by this run.
    pub condemned: Garbage,
    /// What was condemned before and stays until its time.
    pub waiting: Garbage,
    /// When the first of what then is on the list may be removed.
    pub next: Option<u64>,
    /// Condemned before, needed again.
    pub pardoned: u64,
    /// What goes now.
    pub removal: Removal,
    /// What stays for keys.
    pub kept: Garbage,
    /// The list while the removal is under way.
    pub list: Condemned,
}

/// Plans a run.
///
/// What goes now was condemned by an earlier run, its time has come, and nothing leads to it. A
/// pack has use as long as any layer that stays refers to it, be the layer needed itself or not:
/// so whoever finds a layer finds its packs. With a grace of zero, what is found goes at once.
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
            // A layer in use that cannot be read may need any pack, also one on the list: a saver
            // may publish with a pack that was condemned after it had read the list, and only its
            // layer tells.
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

/// What becomes of an object; times are until when it stays.
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
        // A grace of zero removes at once what waits, too.
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

    /// Fits the plan to the list as it is now that it is to be executed.
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
        // What is gone from the list was invisible to savers for a while.
        let planned = self.removal.layers.clone();
        let layers = &mut self.removal.layers;
        layers.retain(|id| at_once || current.layers.get(id) == self.list.layers.get(id));
        merge_condemned(&mut self.list.layers, &seen.layers, &current.layers, until);
        // Every reader that finds a layer finds its packs.
        let staying = inventory.layers.iter();
        let staying = staying.filter(|(id, _)| !self.removal.layers.contains(id));
        let referred: BTreeSet<_> = staying.flat_map(|(_, layer)| &layer.packs).collect();
        // The packs of a layer that cannot be read are not known, so they all wait for it if it was
        // to go in this run, and with it its packs.
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

    /// The list once the removal is done.
    fn list_afterwards(&self) -> Condemned {
        self.without_removed(&self.list)
    }

    /// A list without what this plan removes.
    pub(super) fn without_removed(&self, list: &Condemned) -> Condemned {
        let mut list = list.clone();
        list.layers
            .retain(|layer, _| !self.removal.layers.contains(layer));
        list.packs
            .retain(|pack, _| !self.removal.packs.contains(pack));
        list
    }
}

/// Makes the planned list, of which `seen` was there when the run began, one that can replace
/// `current`. What is new on it, or was lost from it, stays until `until` at least.
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
        // Another collector put it there since this one looked: it is not this one's to pardon.
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
        // When a record that cannot be read expires is not known.
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
