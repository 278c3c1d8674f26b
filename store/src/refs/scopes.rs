//! Which scopes there are.

use std::collections::{BTreeMap, BTreeSet};

use super::name::{Key, Scope, parse_listing};
use super::resolve::saved_micros;
use crate::error::Result;
use crate::remote::DynRemote;

/// A scope and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeSummary {
    /// The scope.
    pub scope: Scope,
    /// Number of keys.
    pub keys: usize,
    /// Time of the newest save, in microseconds since 1970.
    pub newest: u64,
}

/// Lists all scopes that have keys, the one with the newest save first. One listing of all saves.
pub async fn list_scopes(remote: &DynRemote) -> Result<Vec<ScopeSummary>> {
    let mut found: BTreeMap<Scope, (BTreeSet<Key>, u64)> = BTreeMap::new();
    for object in remote.list("refs/").await? {
        if let Some((name, save)) = parse_listing(&object.key) {
            let (keys, newest) = found.entry(name.scope).or_default();
            keys.insert(name.key);
            *newest = saved_micros(&save, &object).max(*newest);
        }
    }
    let summary = |(scope, (keys, newest)): (Scope, (BTreeSet<Key>, u64))| ScopeSummary {
        scope,
        keys: keys.len(),
        newest,
    };
    let mut scopes: Vec<_> = found.into_iter().map(summary).collect();
    scopes.sort_by_key(|summary| std::cmp::Reverse(summary.newest));
    Ok(scopes)
}
