//! Questions for a key, and their answers.

use serde::{Deserialize, Serialize};

use super::name::{Key, RefName, Scope};
use super::record::{LayerInfo, RefRecord};

/// A key to look up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyQuery {
    /// Where to look, best first.
    pub scopes: Vec<Scope>,
    /// The key itself.
    pub key: Key,
    /// Prefixes of keys that will do, best first; of several matches the newest is taken.
    pub prefixes: Vec<String>,
    /// For one part of a key: the choice of [`find_key`](super::find_key()) for all parts. `None`
    /// looks for keys of one path.
    #[serde(default)]
    pub chosen: Option<Chosen>,
    /// Which layer of a stack the key is for, such as `base`; `None` for the top of one.
    pub role: Option<String>,
}

/// The key from which one part is taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// No key has any of the parts, or the key that was found lacks this one.
    Nothing,
    /// This part of the key that was found.
    Part {
        /// The part.
        name: RefName,
        /// How its key matched.
        kind: MatchKind,
    },
}

/// How a key was matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchKind {
    /// The exact key.
    Exact,
    /// A key with this prefix.
    Prefix(String),
}

/// The stack that serves a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resolved {
    /// The key that matched.
    pub name: RefName,
    /// How it matched.
    pub kind: MatchKind,
    /// The stack, the bottom layer first.
    pub layers: Vec<LayerInfo>,
    /// The saves it is made of, oldest first; more than one when jobs saved at the same time.
    pub records: Vec<RefRecord>,
}
