//! What a run would do: a pure function of what there is.

use std::collections::BTreeSet;

use serde::Serialize;

use super::condemned::Condemned;
use super::inventory::Inventory;
use super::{GcOptions, micros};
use crate::id::{LayerId, PackId, SaveId};
use crate::refs::{RefName, contained, unite};
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
pub struct Plan {
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
pub fn plan(inventory: &Inventory, options: &GcOptions) -> Plan {
    let mut plan = Plan {
        dropped: dropped(inventory, options),
        ..Plan::default()
    };
    let at_once = options.grace.is_zero();
    let until = options.now.saturating_add(micros(options.grace));
    let used_layers = used_layers(inventory, if at_once { &plan.dropped } else { &[] });
    let list = &inventory.condemned;
    for (layer, referring) in &inventory.layers {
        let stays = used_layers.contains(layer);
        let fate = fate(stays, list.layers.get(layer).copied(), until, options.now);
        plan.count(fate, true, referring.size);
        match fate {
            Fate::Kept { .. } => {}
            Fate::Condemned(until) | Fate::Waiting(until) => {
                plan.list.layers.insert(*layer, until);
            }
            Fate::Removed(until) => {
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
    let needed = packs_of(&mut used_layers.iter());
    let referred = {
        let stay = |layer: &&LayerId| !plan.removal.layers.contains(layer);
        packs_of(&mut inventory.layers.keys().filter(stay))
    };
    for (pack, size) in &inventory.packs {
        let stays = needed.contains(pack);
        let mut fate = fate(stays, list.packs.get(pack).copied(), until, options.now);
        if let Fate::Removed(until) = fate
            && referred.contains(pack)
        {
            fate = Fate::Waiting(until);
        }
        plan.count(fate, false, *size);
        match fate {
            Fate::Kept { .. } => {}
            Fate::Condemned(until) | Fate::Waiting(until) => {
                plan.list.packs.insert(*pack, until);
            }
            Fate::Removed(until) => {
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
enum Fate {
    Kept { pardoned: bool },
    Condemned(u64),
    Waiting(u64),
    Removed(u64),
}

fn fate(is_used: bool, listed: Option<u64>, until: u64, now: u64) -> Fate {
    match listed {
        _ if is_used => Fate::Kept {
            pardoned: listed.is_some(),
        },
        // A grace of zero removes at once what waits, too.
        _ if until <= now => Fate::Removed(now),
        None => Fate::Condemned(until),
        Some(until) if until > now => Fate::Waiting(until),
        Some(until) => Fate::Removed(until),
    }
}

impl Plan {
    fn count(&mut self, fate: Fate, is_layer: bool, size: u64) {
        let counted = match fate {
            Fate::Kept { pardoned } => {
                self.pardoned += u64::from(pardoned);
                &mut self.kept
            }
            Fate::Condemned(_) => &mut self.condemned,
            Fate::Waiting(_) => &mut self.waiting,
            Fate::Removed(_) => {
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

    /// The list once the removal is done.
    pub(super) fn list_afterwards(&self) -> Condemned {
        let mut list = self.list.clone();
        list.layers
            .retain(|layer, _| !self.removal.layers.contains(layer));
        list.packs
            .retain(|pack, _| !self.removal.packs.contains(pack));
        list
    }
}

fn dropped(inventory: &Inventory, options: &GcOptions) -> Vec<DroppedKey> {
    let mut dropped = Vec::new();
    for (name, records) in &inventory.saves {
        let newest = records.iter().map(|record| record.id.micros).max();
        let newest = newest.unwrap_or(0);
        let (_, current) = unite(records.clone());
        let is_expired = current.iter().all(|record| record.is_expired(options.now));
        let is_old = options
            .older_than
            .is_some_and(|age| newest.saturating_add(micros(age)) < options.now);
        let reason = match (is_expired, is_old) {
            (true, _) => DropReason::Expired,
            (false, true) => DropReason::Old,
            (false, false) => continue,
        };
        dropped.push(DroppedKey {
            name: name.clone(),
            reason,
            newest,
            saves: contained(records),
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
        .collect()
}
