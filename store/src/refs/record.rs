//! The record of a save, which is the value of a ref.

use serde::{Deserialize, Serialize};

use super::creator::{Creator, Platform};
use super::free_text;
use super::key_part::CachePart;
use super::name::{Key, RefName, Scope};
use crate::error::{Error, Result};
use crate::id::{LayerId, SaveId};
use crate::layer::{LayerSummary, TreeTotals};
use crate::remote::ObjectKey;

/// The version of the record's format that this code writes and the newest it reads.
const FORMAT: u32 = 1;

/// Largest record in bytes; bounds the parser of a reader.
pub(crate) const MAX_RECORD: u64 = 4 << 20;

/// A layer in a stack, with facts for users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInfo {
    /// The layer.
    pub id: LayerId,
    /// Length of the layer object in bytes.
    pub length: u64,
    /// Totals of the layer.
    #[serde(flatten)]
    pub summary: LayerSummary,
    /// Bytes this save had to store: new packs and the layer itself.
    pub new_bytes: u64,
    /// The layers that were squashed into this one, the bottom one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<LayerId>,
    /// When it was saved, in microseconds since 1970.
    pub created: u64,
    /// The key it was first saved under.
    pub key: Key,
    /// Role of the layer in a stack, such as `base`; `None` if it was saved as the top of a stack.
    /// A layer that was squashed from several has their common role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Creator of the layer.
    pub creator: Creator,
}

/// One save of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefRecord {
    /// Version of this format.
    pub format: u32,
    /// Features that a reader must know; none exist yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// The save.
    pub id: SaveId,
    /// The scope of the key.
    pub scope: Scope,
    /// The key.
    pub key: Key,
    /// Which of the key's caches, where it has several.
    #[serde(default, rename = "path", skip_serializing_if = "Option::is_none")]
    pub part: Option<CachePart>,
    /// The stack, the bottom layer first.
    pub layers: Vec<LayerInfo>,
    /// Saves of this key that are contained in this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supersedes: Vec<SaveId>,
    /// When it stops counting, in microseconds since 1970; never, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Totals of the stack's tree, if the saver counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeTotals>,
    /// The saved path in the form of a part, for keys of one path, whose names do not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_from: Option<CachePart>,
    /// Creator of the save.
    pub creator: Creator,
    /// Where it was made.
    pub platform: Platform,
    /// The inputs of the key, which explain a miss. Opaque here.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub parts: serde_json::Value,
}

impl RefRecord {
    /// The name of a member with text that no save of ours contains.
    fn find_unprintable(&self) -> Option<&'static str> {
        let layers = || self.layers.iter();
        let creators = [&self.creator].into_iter();
        free_text::find_unprintable(
            creators.chain(layers().map(|layer| &layer.creator)),
            &self.platform,
            layers().filter_map(|layer| layer.role.as_deref()),
        )
    }

    /// Makes a record of a save that happens now.
    pub fn new(
        name: RefName,
        layers: Vec<LayerInfo>,
        creator: Creator,
        platform: Platform,
    ) -> Self {
        Self {
            format: FORMAT,
            requires: Vec::new(),
            id: SaveId::now(),
            scope: name.scope,
            key: name.key,
            part: name.part,
            layers,
            supersedes: Vec::new(),
            expires: None,
            tree: None,
            saved_from: None,
            creator,
            platform,
            parts: serde_json::Value::Null,
        }
    }

    /// The key in its scope, and the part.
    pub fn name(&self) -> RefName {
        RefName {
            scope: self.scope.clone(),
            key: self.key.clone(),
            part: self.part.clone(),
        }
    }

    /// Whether it has stopped counting at `now`, in microseconds since 1970.
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Encodes the record.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::damaged("a new ref", error.to_string()))?;
        if bytes.len() as u64 > MAX_RECORD {
            return Err(Error::TooLarge {
                what: "the ref",
                limit: format!("{MAX_RECORD} bytes"),
            });
        }
        Ok(bytes)
    }

    /// Decodes and checks a record that was read from `object`.
    pub fn decode(object: &ObjectKey, bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct RefVersion {
            format: u32,
            #[serde(default)]
            requires: Vec<String>,
        }
        let damaged = |detail: String| Error::damaged(format!("ref {object}"), detail);
        let unreadable = |error: serde_json::Error| match error.is_eof() || bytes.contains(&0) {
            // Blocks that never reached the disk read as zeros; JSON has none.
            true => Error::Torn {
                what: format!("ref {object}"),
            },
            false => damaged(error.to_string()),
        };
        if bytes.len() as u64 > MAX_RECORD {
            return Err(damaged("it exceeds the maximum size".to_owned()));
        }
        let version: RefVersion = serde_json::from_slice(bytes).map_err(unreadable)?;
        if version.format > FORMAT || !version.requires.is_empty() {
            return Err(Error::Unsupported {
                what: format!("ref {object}"),
                detail: format!("format {}, features {:?}", version.format, version.requires),
            });
        }
        let mut record: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        if let Some(name) = record.find_unprintable() {
            return Err(damaged(format!("`{name}` has a control character")));
        }
        free_text::drop_unprintable(&mut record.parts);
        Ok(record)
    }

    /// Decodes the record of one save of a key: [`RefRecord::decode`], and it is that save's.
    pub fn decode_as(name: &RefName, save: &SaveId, bytes: &[u8]) -> Result<Self> {
        let object = name.record(save);
        let record = Self::decode(&object, bytes)?;
        if record.id != *save || record.name() != *name {
            let detail = "it is the record of another save";
            return Err(Error::damaged(format!("ref {object}"), detail));
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RefRecord {
        let name = RefName::new(Scope::new("main").unwrap(), Key::new("k").unwrap());
        RefRecord::new(name, Vec::new(), Creator::default(), Platform::default())
    }

    #[test]
    fn what_a_power_cut_leaves_is_torn_and_other_bytes_are_damaged() {
        let record = record();
        let object = record.name().record(&record.id);
        let whole = record.encode().unwrap();
        assert_eq!(RefRecord::decode(&object, &whole).unwrap(), record);
        let mut zeros_at_the_end = whole.clone();
        zeros_at_the_end[whole.len() / 2..].fill(0);
        let mut zeros_at_the_start = whole.clone();
        zeros_at_the_start[..8].fill(0);
        let torn: [&[u8]; 5] = [
            b"",
            &whole[..whole.len() / 2],
            &vec![0; whole.len()],
            &zeros_at_the_end,
            &zeros_at_the_start,
        ];
        for bytes in torn {
            let error = RefRecord::decode(&object, bytes).unwrap_err();
            assert!(matches!(error, Error::Torn { .. }), "{error}");
        }
        for bytes in [&b"zzz"[..], b"{}", b"[1]", b"{\"format\":1}"] {
            let error = RefRecord::decode(&object, bytes).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
        }
    }

    #[test]
    fn a_record_under_another_name_is_damaged() {
        let record = record();
        let bytes = record.encode().unwrap();
        let read = RefRecord::decode_as(&record.name(), &record.id, &bytes);
        assert_eq!(read.unwrap(), record);
        let other = RefName::new(Scope::new("pr/1").unwrap(), Key::new("k").unwrap());
        for (name, save) in [(other, record.id), (record.name(), SaveId::now())] {
            let error = RefRecord::decode_as(&name, &save, &bytes).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
        }
    }
}
