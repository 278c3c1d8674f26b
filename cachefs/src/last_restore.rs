//! The lookups of the last restore, recorded so that `explain` can report how it went.

use std::fs;
use std::io::ErrorKind;

use cachefs_store::refs::{KeyQuery, RefName};
use cachefs_store::replace_file::{Durability, replace_file};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store_dir::StoreDir;

/// One cache that was to be restored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sought {
    /// Its name in a configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it was to go; to be shown, so bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Where it was looked for, without credentials.
    pub remote: String,
    /// Scopes, key and prefixes.
    pub wanted: KeyQuery,
    /// The inputs of the key.
    #[serde(default)]
    pub parts: serde_json::Value,
    /// The key that was taken.
    #[serde(default)]
    pub matched: Option<RefName>,
    /// Number of unsaved changes of an earlier restore that were found at the path.
    #[serde(default)]
    pub unsaved_changes: u64,
    /// Where they were moved, to be shown; `None` if they stayed.
    #[serde(default)]
    pub unsaved_moved_to: Option<String>,
}

/// The lookups of the last restore in a store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastRestore {
    /// When it was, in microseconds since 1970.
    pub micros: u64,
    /// The caches, in the order in which they were named.
    pub caches: Vec<Sought>,
}

impl LastRestore {
    /// Writes the record to the store, in place of the previous one.
    pub fn write(&self, store: &StoreDir) -> Result<()> {
        let file = store.last_restore();
        let bytes =
            serde_json::to_vec_pretty(self).map_err(|error| Error::Conversation(error.into()))?;
        replace_file(&file, &bytes, Durability::Volatile).map_err(Error::io("write", file))
    }

    /// Reads the record; `None` if it is missing, or in a format that this version does not
    /// support.
    pub fn read(store: &StoreDir) -> Result<Option<Self>> {
        let file = store.last_restore();
        match fs::read(&file) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)
                .inspect_err(|error| tracing::warn!("{}: {error}", file.display()))
                .ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", file)(error)),
        }
    }
}
