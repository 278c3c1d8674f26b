//! What is in a remote, and what leads to what.

use std::collections::{BTreeMap, BTreeSet};

use super::condemned::Condemned;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{LayerId, PackId, SaveId, StackId};
use crate::layer::{self, Layer};
use crate::parallel;
use crate::refs::{MAX_RECORD, Record, RefName, parse_listing, unite};
use crate::remote::{DynRemote, ObjectInfo, ObjectKey, RemoteErrorKind};
use crate::save::Progress;
use crate::trace;

/// So many records are read at a time.
const RECORDS: usize = 16;
/// So many layers are fetched and held at a time.
const LAYERS: usize = 8;
/// The list of keys is read again until it shows nothing new, so often at most.
const ROUNDS: usize = 16;

/// An object's size, and the packs that it refers to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Referring {
    /// Size in bytes.
    pub size: u64,
    /// The packs.
    pub packs: BTreeSet<PackId>,
}

/// Everything in a repository that collection is about.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// The records of all keys.
    pub saves: BTreeMap<RefName, Vec<Record>>,
    /// All layers.
    pub layers: BTreeMap<LayerId, Referring>,
    /// All packs, with their sizes.
    pub packs: BTreeMap<PackId, u64>,
    /// The traces of stacks that no key has by itself: stacks of several keys, or of none.
    pub traces: BTreeMap<ObjectKey, Referring>,
    /// Layers that records name and that are not there.
    pub missing: BTreeSet<LayerId>,
    /// What earlier runs have condemned.
    pub condemned: Condemned,
}

impl Inventory {
    /// Reads what there is.
    ///
    /// Objects are listed before the records are, so that a record which is not seen was
    /// published after everything that is. A record or a layer in use that can't be understood is
    /// an error: what it leads to is not known.
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
        let layers: BTreeMap<LayerId, u64> = by_name(&layers?);
        inventory.packs = by_name(&packs?);
        inventory.read_saves(remote, progress).await?;
        inventory.read_layers(remote, layers, progress).await?;
        inventory.read_traces(remote, traces?, progress).await?;
        // Reading took a while. A listing may also have missed a record that superseded another
        // one just then.
        inventory.read_saves(remote, progress).await?;
        inventory.missing = inventory.look_for_missing(remote).await?;
        Ok(inventory)
    }

    /// Reads the records that are not known yet, until a listing shows no other.
    async fn read_saves(&mut self, remote: &DynRemote, progress: &dyn Progress) -> Result<()> {
        for _ in 0..ROUNDS {
            let listed = remote.list("refs/").await?;
            let unknown: Vec<_> = listed
                .iter()
                .filter_map(|object| parse_listing(&object.key))
                .filter(|(name, save)| !self.knows(name, save))
                .collect();
            if unknown.is_empty() {
                return Ok(());
            }
            progress.total(unknown.len() as u64, 0);
            let start = |(name, save): (RefName, SaveId)| {
                let remote = remote.clone();
                async move { read_record(&remote, name, save).await }
            };
            let saves = &mut self.saves;
            parallel::for_each(RECORDS, unknown, progress, start, |read| {
                progress.done(1, 0);
                // One that is gone was superseded: its successor is in the next listing.
                if let Some((name, record)) = read {
                    saves.entry(name).or_default().push(record);
                }
                Ok(())
            })
            .await?;
        }
        Err(Error::damaged(
            "the list of keys",
            "it names records that do not exist",
        ))
    }

    fn knows(&self, name: &RefName, save: &SaveId) -> bool {
        let saves = self.saves.get(name);
        saves.is_some_and(|saves| saves.iter().any(|record| record.id == *save))
    }

    async fn read_layers(
        &mut self,
        remote: &DynRemote,
        layers: BTreeMap<LayerId, u64>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let in_use: BTreeSet<_> = self.in_use().collect();
        progress.total(layers.len() as u64, 0);
        let start = |(id, size): (LayerId, u64)| {
            let (remote, in_use) = (remote.clone(), in_use.contains(&id));
            async move { Ok((id, size, packs_of(&remote, id, in_use).await?)) }
        };
        let known = &mut self.layers;
        parallel::for_each(LAYERS, layers, progress, start, |(id, size, packs)| {
            progress.done(1, 0);
            if let Some(packs) = packs {
                known.insert(id, Referring { size, packs });
            }
            Ok(())
        })
        .await
    }

    /// The layers that records name.
    fn in_use(&self) -> impl Iterator<Item = LayerId> + '_ {
        let records = self.saves.values().flatten();
        records.flat_map(|record| record.layers.iter().map(|layer| layer.id))
    }

    /// Layers that are named and were not listed: gone, or stored since.
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
                let packs = trace::packs(&remote, &info.key).await?;
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

    /// The traces that a restore of one key may ask for: those of its stack and what it grew from.
    fn traces_of_keys(&self) -> BTreeSet<ObjectKey> {
        let mut keys = BTreeSet::new();
        for records in self.saves.values() {
            let (united, _) = unite(records.clone());
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

/// The objects of a listing whose names end in an identifier, with their sizes.
fn by_name<T: std::str::FromStr + Ord>(listed: &[ObjectInfo]) -> BTreeMap<T, u64> {
    let object = |info: &ObjectInfo| {
        let name = info.key.as_str().rsplit('/').next()?;
        Some((name.parse().ok()?, info.size))
    };
    listed.iter().filter_map(object).collect()
}

async fn read_record(
    remote: &DynRemote,
    name: RefName,
    save: SaveId,
) -> Result<Option<(RefName, Record)>> {
    let object = name.record(&save);
    match remote.get(&object, MAX_RECORD).await {
        Ok(bytes) => {
            let record = Record::decode(&object, &bytes)?;
            // Under another identity it would be looked for again and again.
            if record.id != save {
                let detail = "it is the record of another save";
                return Err(Error::damaged(format!("ref {object}"), detail));
            }
            Ok(Some((name, record)))
        }
        Err(error) if error.kind() == RemoteErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The packs that a layer refers to; `None` when the layer is gone.
///
/// A damaged layer that no key needs leads nowhere. One of a newer format may be somebody's save
/// that is under way.
async fn packs_of(
    remote: &DynRemote,
    id: LayerId,
    in_use: bool,
) -> Result<Option<BTreeSet<PackId>>> {
    let object = match remote.get(&layer::object_key(&id), layer::MAX).await {
        Ok(object) => object,
        Err(error) if error.kind() == RemoteErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let packs = parallel::compute(move || {
        let packs = Layer::open(id, object)?.packs()?;
        Ok(packs.into_iter().map(|pack| pack.id).collect())
    });
    match packs.await {
        Err(error @ Error::Unsupported { .. }) => Err(error),
        Err(error) if error.kind() == ErrorKind::Integrity && !in_use => Ok(Some(BTreeSet::new())),
        other => other.map(Some),
    }
}
