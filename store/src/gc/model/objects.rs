//! The objects of the model, and the remote in memory that has them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::super::*;
use crate::id::{LayerId, PackId, SaveId};
use crate::layer::{self, LayerSummary};
use crate::pack::{self};
use crate::refs::{self, Creator, Key, LayerInfo, Platform, RefName, RefRecord, Scope};
use crate::remote::{
    ListPage, ObjectInfo, ObjectKey, PutMode, Remote, RemoteError, RemoteErrorKind, RemoteId,
};

/// Half an hour, in microseconds: half a lease.
pub(super) const TICK: u64 = LEASE.as_micros() as u64 / 2;
/// When the path was restored. Not 0, as times before it occur.
pub(super) const START: u64 = 1000 * TICK;
/// The end of a history in ticks: an object that is condemned at once is removed at 4. Each tick
/// more doubles the number of states.
pub(super) const LAST: u64 = 5;

/// The layer that the path was restored from, and the layers that others and the saver create.
pub(super) const BASE: LayerId = LayerId([1; 32]);
pub(super) const OWN: LayerId = LayerId([2; 32]);
/// The saver's layer when it holds files that were only moved: it refers to a pack of the base.
pub(super) const OWN_WITH_MOVED: LayerId = LayerId([3; 32]);
pub(super) const SQUASHED: LayerId = LayerId([4; 32]);
/// The base and a later layer, squashed by others; the later one replaced all files of the base.
pub(super) const SQUASHED_BY_OTHERS: LayerId = LayerId([5; 32]);

pub(super) const BASE_PACK: PackId = PackId([1; 16]);
pub(super) const OWN_PACK: PackId = PackId([2; 16]);
pub(super) const PACK_OF_OTHERS: PackId = PackId([3; 16]);

pub(super) fn packs_of(layer: &LayerId) -> BTreeSet<PackId> {
    BTreeSet::from_iter(match *layer {
        OWN => vec![OWN_PACK],
        OWN_WITH_MOVED => vec![BASE_PACK, OWN_PACK],
        SQUASHED_BY_OTHERS => vec![PACK_OF_OTHERS],
        _ => vec![BASE_PACK],
    })
}

pub(super) fn time(tick: u64) -> u64 {
    START + tick * TICK
}

pub(super) fn name(key: &str) -> RefName {
    RefName::new(Scope::new("main").unwrap(), Key::new(key).unwrap())
}

pub(super) fn info(id: LayerId, contains: &[LayerId]) -> LayerInfo {
    LayerInfo {
        id,
        length: 1,
        summary: LayerSummary::default(),
        new_bytes: 0,
        contains: contains.to_vec(),
        created: START,
        key: Key::new("k").unwrap(),
        role: None,
        creator: Creator::default(),
    }
}

pub(super) fn record(
    key: &str,
    save: u64,
    layers: Vec<LayerInfo>,
    supersedes: Vec<SaveId>,
) -> RefRecord {
    let id = SaveId {
        micros: START + save,
        nonce: save,
    };
    let record = RefRecord::new(name(key), layers, Creator::default(), Platform::default());
    RefRecord {
        id,
        supersedes,
        ..record
    }
}

pub(super) type Objects = BTreeMap<ObjectKey, Bytes>;

/// A remote in memory, which can die, and stop a saver before its record is visible.
#[derive(Debug, Default)]
pub(super) struct MemoryRemote {
    pub(super) objects: Mutex<Objects>,
    /// The writes after which every request fails; `None` for never.
    pub(super) writes_left: Mutex<Option<u32>>,
    /// The time at which the saver wakes up, if it sleeps before its record.
    pub(super) wakes: Mutex<Option<u64>>,
}

impl MemoryRemote {
    pub(super) fn write(&self) -> Result<(), RemoteError> {
        match &mut *self.writes_left.lock() {
            Some(0) => Err(RemoteError::new(RemoteErrorKind::Unavailable, "write")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The removals of collectors until a time, in the worst order for a saver that sleeps.
    pub(super) fn collect_until(&self, wakes: u64) {
        let mut objects = self.objects.lock();
        let Some(list) = objects.get(&object_key()) else {
            return;
        };
        let list = Condemned::decode(list).unwrap();
        let due = |until: &u64| *until <= wakes;
        let used = used_layers(&objects);
        let gone =
            |layer: &LayerId| !used.contains(layer) && list.layers.get(layer).is_some_and(due);
        let mut layers = layers_in(&objects);
        for layer in layers.iter().filter(|layer| gone(layer)) {
            objects.remove(&layer::object_key(layer));
        }
        layers.retain(|layer| !gone(layer));
        let needed: BTreeSet<_> = layers.iter().flat_map(packs_of).collect();
        for (pack, until) in &list.packs {
            if due(until) && !needed.contains(pack) {
                objects.remove(&pack::object_key(pack));
            }
        }
        objects.remove(&object_key());
    }
}

#[async_trait]
impl Remote for MemoryRemote {
    fn url(&self) -> &str {
        "memory://"
    }

    fn id(&self) -> RemoteId {
        RemoteId::of_url(self.url())
    }

    async fn get(&self, key: &ObjectKey, _: u64) -> Result<Bytes, RemoteError> {
        let found = self.objects.lock().get(key).cloned();
        found.ok_or_else(|| RemoteError::new(RemoteErrorKind::NotFound, "get"))
    }

    async fn get_range(&self, _: &ObjectKey, _: Range<u64>) -> Result<Bytes, RemoteError> {
        Err(RemoteError::new(RemoteErrorKind::Invalid, "get"))
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, _: PutMode) -> Result<(), RemoteError> {
        self.write()?;
        if refs::parse_listing(key).is_some()
            && let Some(wakes) = self.wakes.lock().take()
        {
            self.collect_until(wakes);
        }
        self.objects.lock().insert(key.clone(), body);
        Ok(())
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, RemoteError> {
        let size = self.get(key, u64::MAX).await?.len() as u64;
        Ok(ObjectInfo {
            key: key.clone(),
            size,
            modified: None,
        })
    }

    async fn list_page(&self, prefix: &str, _: Option<&str>) -> Result<ListPage, RemoteError> {
        let objects = self.objects.lock();
        let objects = objects
            .iter()
            .filter(|(key, _)| key.as_str().starts_with(prefix));
        let objects = objects.map(|(key, body)| ObjectInfo {
            key: key.clone(),
            size: body.len() as u64,
            modified: None,
        });
        Ok(ListPage {
            objects: objects.collect(),
            next: None,
        })
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), RemoteError> {
        self.write()?;
        self.objects.lock().remove(key);
        Ok(())
    }
}

pub(super) fn records_in(objects: &Objects) -> Vec<RefRecord> {
    let saves = objects.iter().filter_map(|(key, body)| {
        let (name, save) = refs::parse_listing(key)?;
        Some(RefRecord::decode_as(&name, &save, body).unwrap())
    });
    saves.collect()
}

pub(super) fn used_layers(objects: &Objects) -> BTreeSet<LayerId> {
    let records = records_in(objects);
    let layers = records.iter().flat_map(|record| &record.layers);
    layers.map(|layer| layer.id).collect()
}

pub(super) fn layers_in(objects: &Objects) -> Vec<LayerId> {
    let all = [BASE, OWN, OWN_WITH_MOVED, SQUASHED, SQUASHED_BY_OTHERS];
    let is_there = |id: &LayerId| objects.contains_key(&layer::object_key(id));
    all.into_iter().filter(is_there).collect()
}

pub(super) fn packs_in(objects: &Objects) -> Vec<PackId> {
    let all = [BASE_PACK, OWN_PACK, PACK_OF_OTHERS];
    let is_there = |id: &PackId| objects.contains_key(&pack::object_key(id));
    all.into_iter().filter(is_there).collect()
}
