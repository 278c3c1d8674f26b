//! The objects of a remote and the references between them.

use std::collections::{BTreeMap, BTreeSet};

use super::condemned::Condemned;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{LayerId, PackId, SaveId, StackId};
use crate::layer::{self, Layer};
use crate::pack;
use crate::parallel::{self, MemoryBudget};
use crate::progress::Progress;
use crate::refs::{MAX_RECORD, RefName, RefRecord, parse_listing, saved_micros, unite_records};
use crate::remote::{DynRemote, ObjectInfo, ObjectKey, RemoteErrorKind};
use crate::trace;

/// Number of records that are read concurrently.
const RECORDS: usize = 16;
/// Number of layers that are fetched concurrently.
const LAYERS: usize = 8;
/// Upper bound for the bytes of concurrent fetches; a single larger layer is fetched alone. Without
/// it, anyone with write access to the remote could exhaust memory with layers of [`layer::MAX`].
const LAYER_BYTES: u64 = 256 << 20;
/// Upper bound for repeated listings of the keys, which end when one shows nothing new.
const ROUNDS: usize = 16;

/// The size of a layer and the packs that it references.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Referring {
    /// Size in bytes.
    pub size: u64,
    /// Referenced packs.
    pub packs: BTreeSet<PackId>,
}

/// A record that is corrupt, torn or of a newer format.
///
/// Records of every version write the names of layers and packs as hexadecimal digits
/// (`docs/format/ref.md`). So we find all possible references in the text, and treat them as in
/// use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRecord {
    /// The save.
    pub save: SaveId,
    /// The reason why it cannot be read.
    pub reason: String,
    /// Layers whose names occur in the text.
    pub layers: BTreeSet<LayerId>,
    /// Packs whose names occur in the text.
    pub packs: BTreeSet<PackId>,
}

/// The parts of a repository that a collection reads.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// The readable records of all keys.
    pub saves: BTreeMap<RefName, Vec<RefRecord>>,
    /// Time of the newest save of each key, in microseconds since 1970: see [`saved_micros`].
    pub newest: BTreeMap<RefName, u64>,
    /// Records that cannot be read.
    pub unreadable: BTreeMap<RefName, Vec<UnreadableRecord>>,
    /// All layers.
    pub layers: BTreeMap<LayerId, Referring>,
    /// All packs, with their sizes.
    pub packs: BTreeMap<PackId, u64>,
    /// Traces of stacks that belong to no single key: stacks of several keys, or of deleted keys.
    pub traces: BTreeMap<ObjectKey, Referring>,
    /// Layers that records reference and that are missing or truncated.
    pub missing: BTreeSet<LayerId>,
    /// Layers that cannot be read because they are corrupt or of a newer format, referenced or not.
    /// The packs that they reference are unknown.
    pub unreadable_layers: BTreeSet<LayerId>,
    /// The corrupt ones among them.
    pub(super) damaged: BTreeSet<LayerId>,
    /// The objects that earlier runs condemned.
    pub condemned: Condemned,
}

impl Inventory {
    /// Reads the repository.
    ///
    /// Objects are listed before records, so that a record which this run does not see was
    /// published after every object that it does see. Unreadable records and layers do not stop the
    /// run: the objects that they may reference count as in use.
    pub async fn take(remote: &DynRemote, progress: &dyn Progress) -> Result<Self> {
        let mut inventory = Self {
            condemned: Condemned::read(remote).await?,
            ..Self::default()
        };
        let (layers, packs, traces) = tokio::join!(
            remote.list("layers/"),
            remote.list("packs/"),
            remote.list("traces/")
        );
        let layers: BTreeMap<LayerId, u64> = by_name(&layers?, layer::object_key);
        inventory.packs = by_name(&packs?, pack::object_key);
        inventory.read_saves(remote, progress).await?;
        inventory.read_layers(remote, layers, progress).await?;
        inventory.read_traces(remote, traces?, progress).await?;
        // Reading took a while. A listing may also have missed a record that superseded another one
        // at that moment.
        inventory.read_saves(remote, progress).await?;
        inventory.set_apart_truncated();
        let missing = inventory.look_for_missing(remote).await?;
        inventory.missing.extend(missing);
        Ok(inventory)
    }

    /// Reads the unknown records, until a listing shows no new ones.
    async fn read_saves(&mut self, remote: &DynRemote, progress: &dyn Progress) -> Result<()> {
        for _ in 0..ROUNDS {
            let listed = remote.list("refs/").await?;
            let mut unknown = Vec::new();
            for object in &listed {
                let Some((name, save)) = parse_listing(&object.key) else {
                    continue;
                };
                if self.knows(&name, &save) {
                    continue;
                }
                let newest = self.newest.entry(name.clone()).or_default();
                *newest = saved_micros(&save, object).max(*newest);
                unknown.push((name, save));
            }
            if unknown.is_empty() {
                return Ok(());
            }
            progress.total(unknown.len() as u64, 0);
            let start = |(name, save): (RefName, SaveId)| {
                let remote = remote.clone();
                async move { read_record(&remote, name, save).await }
            };
            let (saves, unreadable) = (&mut self.saves, &mut self.unreadable);
            parallel::for_each(RECORDS, unknown, progress, start, |read| {
                progress.done(1, 0);
                match read {
                    // A record that is gone was superseded: its successor is in the next listing.
                    None => {}
                    Some(Ok((name, record))) => saves.entry(name).or_default().push(record),
                    Some(Err((name, record))) => unreadable.entry(name).or_default().push(record),
                }
                Ok(())
            })
            .await?;
        }
        Err(Error::damaged(
            "the list of keys",
            "it refers to missing records",
        ))
    }

    fn knows(&self, name: &RefName, save: &SaveId) -> bool {
        let saves = self.saves.get(name);
        let unreadable = self.unreadable.get(name);
        saves.is_some_and(|saves| saves.iter().any(|record| record.id == *save))
            || unreadable.is_some_and(|saves| saves.iter().any(|record| record.save == *save))
    }

    async fn read_layers(
        &mut self,
        remote: &DynRemote,
        layers: BTreeMap<LayerId, u64>,
        progress: &dyn Progress,
    ) -> Result<()> {
        progress.total(layers.len() as u64, 0);
        let budget = MemoryBudget::new(LAYER_BYTES);
        let start = |(id, size): (LayerId, u64)| {
            let (remote, budget) = (remote.clone(), budget.clone());
            async move {
                let _held = budget.take(size).await?;
                Ok((id, size, packs_of(&remote, id, size).await?))
            }
        };
        let (known, damaged) = (&mut self.layers, &mut self.damaged);
        let unreadable = &mut self.unreadable_layers;
        parallel::for_each(LAYERS, layers, progress, start, |found| {
            progress.done(1, 0);
            let (id, size, packs) = found;
            let packs = match packs {
                Packs::Gone => return Ok(()),
                Packs::Known(packs) => packs,
                Packs::Unknown { is_damaged } => {
                    unreadable.insert(id);
                    if is_damaged {
                        damaged.insert(id);
                    }
                    BTreeSet::new()
                }
            };
            known.insert(id, Referring { size, packs });
            Ok(())
        })
        .await
    }

    /// Treats corrupt layers that are shorter than every record says as missing. A power cut left
    /// them: they are unreadable for everyone, so they keep no pack alive.
    ///
    /// Layers of a newer format are excluded: a record that this version cannot read may state
    /// their length.
    fn set_apart_truncated(&mut self) {
        let lengths = self.lengths();
        let is_truncated = |id: &&LayerId| {
            let size = self.layers.get(id).map_or(0, |layer| layer.size);
            lengths.get(id).is_some_and(|length| size < *length)
        };
        let truncated: Vec<_> = self.damaged.iter().filter(is_truncated).copied().collect();
        for id in truncated {
            self.unreadable_layers.remove(&id);
            self.missing.insert(id);
        }
    }

    /// The keys whose records reference a layer, or may reference it.
    pub(super) fn keys_of(&self, id: &LayerId) -> Vec<RefName> {
        let names = |record: &RefRecord| record.layers.iter().any(|layer| layer.id == *id);
        let readable = self.saves.iter().filter(|(_, it)| it.iter().any(names));
        let guessed = |record: &UnreadableRecord| record.layers.contains(id);
        let unreadable = self
            .unreadable
            .iter()
            .filter(|(_, it)| it.iter().any(guessed));
        let keys = readable
            .map(|(name, _)| name)
            .chain(unreadable.map(|(name, _)| name));
        keys.cloned().collect()
    }

    /// The length of each layer according to the records; the smallest if they differ.
    fn lengths(&self) -> BTreeMap<LayerId, u64> {
        let mut lengths = BTreeMap::new();
        for layer in self.saves.values().flatten().flat_map(|it| &it.layers) {
            let length = lengths.entry(layer.id).or_insert(layer.length);
            *length = layer.length.min(*length);
        }
        lengths
    }

    /// The layers that records reference.
    fn in_use(&self) -> impl Iterator<Item = LayerId> + '_ {
        let records = self.saves.values().flatten();
        records.flat_map(|record| record.layers.iter().map(|layer| layer.id))
    }

    /// Referenced layers that were not listed: they are gone, or were stored after the listing.
    async fn look_for_missing(&self, remote: &DynRemote) -> Result<BTreeSet<LayerId>> {
        let mut missing = BTreeSet::new();
        let unlisted = self.in_use().filter(|id| !self.layers.contains_key(id));
        for id in unlisted.collect::<BTreeSet<_>>() {
            match remote.head(&layer::object_key(&id)).await {
                Ok(_) => {}
                Err(error) if error.kind() == RemoteErrorKind::NotFound => {
                    missing.insert(id);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(missing)
    }

    async fn read_traces(
        &mut self,
        remote: &DynRemote,
        listed: Vec<ObjectInfo>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let own = self.traces_of_keys();
        let others = listed.into_iter().filter(|info| !own.contains(&info.key));
        let start = |info: ObjectInfo| {
            let remote = remote.clone();
            async move {
                let packs = trace::trace_packs(&remote, &info.key).await?;
                Ok((info, packs))
            }
        };
        let known = &mut self.traces;
        parallel::for_each(RECORDS, others, progress, start, |(info, packs)| {
            let size = info.size;
            known.insert(info.key, Referring { size, packs });
            Ok(())
        })
        .await
    }

    /// The traces that a restore of a single key may request: those of its stack and of the stacks
    /// below.
    fn traces_of_keys(&self) -> BTreeSet<ObjectKey> {
        let mut keys = BTreeSet::new();
        for records in self.saves.values() {
            let (united, _) = unite_records(records.clone());
            let stacks = records.iter().map(|record| &record.layers).chain([&united]);
            for stack in stacks {
                for length in 1..=stack.len() {
                    let layers = stack[..length].iter().map(|layer| &layer.id);
                    keys.insert(trace::object_key(&StackId::of(layers)));
                }
            }
        }
        keys
    }
}

/// The objects of a listing that are named like layers or packs, with their sizes.
fn by_name<T: std::str::FromStr + Ord>(
    listed: &[ObjectInfo],
    object_key: impl Fn(&T) -> ObjectKey,
) -> BTreeMap<T, u64> {
    let object = |info: &ObjectInfo| {
        let id = info.key.as_str().rsplit('/').next()?.parse().ok()?;
        // Layers and records only reference objects under canonical names.
        (object_key(&id) == info.key).then_some((id, info.size))
    };
    listed.iter().filter_map(object).collect()
}

/// A record, or the parts of an unreadable record that are known.
type Read = Result<(RefName, RefRecord), (RefName, UnreadableRecord)>;

async fn read_record(remote: &DynRemote, name: RefName, save: SaveId) -> Result<Option<Read>> {
    let bytes = match remote.get(&name.record(&save), MAX_RECORD).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == RemoteErrorKind::NotFound => return Ok(None),
        // No version writes a record of this size, so it references nothing.
        Err(error) if error.kind() == RemoteErrorKind::TooLarge => {
            let record = UnreadableRecord {
                save,
                reason: error.to_string(),
                layers: BTreeSet::new(),
                packs: BTreeSet::new(),
            };
            return Ok(Some(Err((name, record))));
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Some(match RefRecord::decode_as(&name, &save, &bytes) {
        Ok(record) => Ok((name, record)),
        Err(error) => {
            let record = UnreadableRecord {
                save,
                reason: error.to_string(),
                layers: find_identifiers(&bytes),
                packs: find_identifiers(&bytes),
            };
            Err((name, record))
        }
    }))
}

/// The identifiers of one kind in a text: runs of hexadecimal digits of the right length.
fn find_identifiers<T: std::str::FromStr + Ord>(text: &[u8]) -> BTreeSet<T> {
    text.split(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        .filter_map(|run| std::str::from_utf8(run).ok()?.parse().ok())
        .collect()
}

/// The packs that a layer references.
enum Packs {
    Known(BTreeSet<PackId>),
    /// The layer is corrupt or of a newer format.
    Unknown {
        is_damaged: bool,
    },
    /// The layer no longer exists.
    Gone,
}

/// Reads a layer that was listed with `length` bytes. If it has grown since, its references are
/// unknown.
async fn packs_of(remote: &DynRemote, id: LayerId, size: u64) -> Result<Packs> {
    let limit = size.min(layer::MAX);
    let object = match remote.get(&layer::object_key(&id), limit).await {
        Ok(object) => object,
        Err(error) if error.kind() == RemoteErrorKind::NotFound => return Ok(Packs::Gone),
        Err(error) if error.kind() == RemoteErrorKind::TooLarge => {
            let is_damaged = size > layer::MAX;
            return Ok(Packs::Unknown { is_damaged });
        }
        Err(error) => return Err(error.into()),
    };
    let packs = parallel::run_blocking(move || {
        let packs = Layer::open(id, object)?.packs()?;
        Ok(packs.into_iter().map(|pack| pack.id).collect())
    });
    match packs.await {
        Err(Error::Unsupported { .. }) => Ok(Packs::Unknown { is_damaged: false }),
        Err(error) if error.kind() == ErrorKind::Integrity => {
            Ok(Packs::Unknown { is_damaged: true })
        }
        packs => packs.map(Packs::Known),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_a_text_that_cannot_be_read() {
        let (layer, pack) = (LayerId([0xab; 32]), PackId([0x12; 16]));
        let text = format!("{{\"format\": 2, \"stack\": [\"{layer}\"], x: {pack}\0 {layer}0 abc");
        assert_eq!(find_identifiers(text.as_bytes()), BTreeSet::from([layer]));
        assert_eq!(find_identifiers(text.as_bytes()), BTreeSet::from([pack]));
        assert_eq!(find_identifiers::<LayerId>(b"\xff\xfe"), BTreeSet::new());
    }

    #[test]
    fn objects_under_other_names_are_not_layers() {
        let id = LayerId([0xab; 32]);
        let info = |key: ObjectKey| ObjectInfo {
            key,
            size: 1,
            modified: None,
        };
        let own = info(layer::object_key(&id));
        let other = info(ObjectKey::new(format!("layers/zz/{id}")));
        let found = by_name(&[own, other.clone()], layer::object_key);
        assert_eq!(found, BTreeMap::from([(id, 1)]));
        assert_eq!(by_name(&[other], layer::object_key), BTreeMap::new());
    }
}
