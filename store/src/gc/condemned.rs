//! The list of condemned objects, `gc/condemned.json`.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{LEASE, duration_micros};
use crate::error::{Error, Result};
use crate::id::{LayerId, PackId, SaveId};
use crate::remote::{DynRemote, ObjectKey, PutMode, RemoteErrorKind};

/// Version of the list that this code writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// Largest list in bytes; bounds the JSON that a saver parses.
const MAX_LIST: usize = 64 << 20;

/// Name of the list's object.
pub fn object_key() -> ObjectKey {
    ObjectKey::new("gc/condemned.json")
}

/// The condemned objects and the end of their grace period, in microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condemned {
    /// Condemned layers, with the time before which each one is kept.
    pub layers: BTreeMap<LayerId, u64>,
    /// Condemned packs, with the time before which each one is kept.
    pub packs: BTreeMap<PackId, u64>,
    /// Whether the object exists but is truncated; that counts as an empty list.
    pub(super) is_torn: bool,
    /// Wall-clock time at which the list was read.
    pub read: u64,
    /// The same moment on the monotonic clock, which nobody can set.
    since: Option<Instant>,
}

#[derive(Serialize, Deserialize)]
struct CondemnedList {
    format: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    requires: Vec<String>,
    #[serde(default)]
    batches: Vec<CondemnedBatch>,
}

/// Objects that were condemned together.
#[derive(Default, Serialize, Deserialize)]
struct CondemnedBatch {
    until: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    layers: Vec<LayerId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    packs: Vec<PackId>,
}

impl Condemned {
    /// Reads the list. A remote without a list has condemned nothing.
    pub async fn read(remote: &DynRemote) -> Result<Self> {
        // Taken before the request: objects that are condemned from here on are kept for at least
        // the shortest grace period.
        Self::read_at(remote, SaveId::now().micros).await
    }

    /// Like [`Condemned::read`], at the time `read` in microseconds since 1970.
    pub(crate) async fn read_at(remote: &DynRemote, read: u64) -> Result<Self> {
        let since = Instant::now();
        let mut condemned = match remote.get(&object_key(), MAX_LIST as u64).await {
            Ok(bytes) => match Self::decode(&bytes) {
                // A power cut truncated it. The next run condemns its entries again, with a full
                // grace period.
                Err(error @ Error::Torn { .. }) => {
                    tracing::warn!("treating the list of condemned objects as empty: {error}");
                    Self {
                        is_torn: true,
                        ..Self::default()
                    }
                }
                read => read?,
            },
            Err(error)
                if matches!(
                    error.kind(),
                    RemoteErrorKind::NotFound | RemoteErrorKind::NoRemote
                ) =>
            {
                Self::default()
            }
            Err(error) => return Err(error.into()),
        };
        condemned.read = read;
        condemned.since = Some(since);
        Ok(condemned)
    }

    /// Writes the list. An empty list is stored as no object at all.
    pub(super) async fn write(&self, remote: &DynRemote) -> Result<()> {
        if self.is_empty() {
            remote.delete(&object_key()).await?;
        } else {
            remote
                .put(&object_key(), self.encode()?, PutMode::Overwrite)
                .await?;
        }
        Ok(())
    }

    /// Whether nothing is condemned.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty() && self.packs.is_empty()
    }

    /// Whether the list is too old to rely on for a publication. A wall clock that was set back
    /// since the read counts as too old, because the age is unknown then.
    pub fn is_stale(&self, now: u64) -> bool {
        let age = now.checked_sub(self.read);
        age.is_none_or(|age| age > duration_micros(LEASE) / 2)
            || self.since.is_some_and(|since| since.elapsed() > LEASE / 2)
    }

    /// The first of `layers` that may be removed although a ref to it is published now.
    pub fn layer_about_to_go(
        &self,
        layers: impl IntoIterator<Item = LayerId>,
        now: u64,
    ) -> Option<LayerId> {
        about_to_go(&self.layers, layers, now)
    }

    /// Like [`Condemned::layer_about_to_go`], for packs.
    pub fn pack_about_to_go(
        &self,
        packs: impl IntoIterator<Item = PackId>,
        now: u64,
    ) -> Option<PackId> {
        about_to_go(&self.packs, packs, now)
    }

    fn encode(&self) -> Result<Bytes> {
        let mut batches: BTreeMap<u64, CondemnedBatch> = BTreeMap::new();
        let batch = |until: &u64| CondemnedBatch {
            until: *until,
            ..CondemnedBatch::default()
        };
        for (layer, until) in &self.layers {
            let into = batches.entry(*until).or_insert_with(|| batch(until));
            into.layers.push(*layer);
        }
        for (pack, until) in &self.packs {
            let into = batches.entry(*until).or_insert_with(|| batch(until));
            into.packs.push(*pack);
        }
        let list = CondemnedList {
            format: FORMAT,
            requires: Vec::new(),
            batches: batches.into_values().collect(),
        };
        let bytes = serde_json::to_vec(&list)
            .map_err(|error| Error::damaged("a new list of garbage", error.to_string()))?;
        Ok(bytes.into())
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = |detail: String| Error::damaged(object_key().to_string(), detail);
        if bytes.len() > MAX_LIST {
            return Err(damaged("it exceeds the maximum size".to_owned()));
        }
        let list: CondemnedList = serde_json::from_slice(bytes).map_err(|error| {
            match error.is_eof() || bytes.contains(&0) {
                true => Error::Torn {
                    what: object_key().to_string(),
                },
                false => damaged(error.to_string()),
            }
        })?;
        if list.format > FORMAT || !list.requires.is_empty() {
            return Err(Error::Unsupported {
                what: object_key().to_string(),
                detail: format!("format {}, features {:?}", list.format, list.requires),
            });
        }
        let mut condemned = Self::default();
        for batch in list.batches {
            let layers = batch.layers.into_iter().map(|layer| (layer, batch.until));
            condemned.layers.extend(layers);
            let packs = batch.packs.into_iter().map(|pack| (pack, batch.until));
            condemned.packs.extend(packs);
        }
        Ok(condemned)
    }
}

fn about_to_go<T: Ord>(
    listed: &BTreeMap<T, u64>,
    objects: impl IntoIterator<Item = T>,
    now: u64,
) -> Option<T> {
    let safe = now.saturating_add(duration_micros(LEASE));
    let goes = |object: &T| listed.get(object).is_some_and(|until| *until < safe);
    objects.into_iter().find(goes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_stale_after_half_a_lease_and_when_the_clock_was_set_back() {
        let half = duration_micros(LEASE) / 2;
        let mut list = Condemned {
            read: 10 * half,
            ..Condemned::default()
        };
        assert!(!list.is_stale(10 * half) && !list.is_stale(11 * half));
        assert!(list.is_stale(11 * half + 1));
        assert!(list.is_stale(10 * half - 1));
        list.since = Instant::now().checked_sub(LEASE);
        assert!(list.since.is_none() || list.is_stale(10 * half));
    }

    #[test]
    fn the_list_round_trips() {
        let mut list = Condemned::default();
        for number in 0..4 {
            list.layers
                .insert(LayerId([number; 32]), u64::from(number % 2));
            list.packs.insert(PackId([number; 16]), 7);
        }
        assert_eq!(Condemned::decode(&list.encode().unwrap()).unwrap(), list);
    }

    #[test]
    fn a_list_that_a_power_cut_left_is_torn() {
        let mut list = Condemned::default();
        list.packs.insert(PackId([1; 16]), 7);
        let whole = list.encode().unwrap();
        for bytes in [&b""[..], &whole[..whole.len() / 2], &vec![0; whole.len()]] {
            let error = Condemned::decode(bytes).unwrap_err();
            assert!(matches!(error, Error::Torn { .. }), "{error}");
        }
    }

    #[test]
    fn what_is_newer_is_not_guessed_at() {
        for text in [
            r#"{"format": 2}"#,
            r#"{"format": 1, "requires": ["x"]}"#,
            r#"{"format": 1, "batches": [{"until": 1, "packs": ["zz"]}]}"#,
        ] {
            assert!(Condemned::decode(text.as_bytes()).is_err(), "{text}");
        }
        let member = r#"{"format": 1, "note": "x", "batches": [{"until": 1, "x": 2}]}"#;
        assert!(Condemned::decode(member.as_bytes()).unwrap().is_empty());
    }

    #[test]
    fn a_layer_is_built_upon_only_while_there_is_time() {
        let (layer, hour) = (LayerId([1; 32]), duration_micros(LEASE));
        let list = Condemned {
            layers: BTreeMap::from([(layer, 3 * hour)]),
            ..Condemned::default()
        };
        assert_eq!(list.layer_about_to_go([layer], hour), None);
        assert_eq!(list.layer_about_to_go([layer], 2 * hour + 1), Some(layer));
        assert_eq!(list.layer_about_to_go([LayerId([2; 32])], 9 * hour), None);
    }
}
