//! Finding the key that all parts of a restore come from.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::key_part::CachePart;
use super::name::{Key, Scope, parts_prefix};
use super::query::{KeyQuery, MatchKind};
use super::record::RefRecord;
use super::resolve::{
    ListedKey, group_saves, list_keys, read_candidate, read_records, retain_unexpired,
};
use crate::error::Result;
use crate::remote::DynRemote;
use crate::task::join_all;

/// A key that has at least one wanted part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundKey {
    /// The scope of the key.
    pub scope: Scope,
    /// The key.
    pub key: Key,
    /// How it matched.
    pub kind: MatchKind,
    /// Those of its parts that are wanted, sorted; `None` stands for a key of one path.
    pub parts: Vec<Option<CachePart>>,
}

/// Finds the best key that has a part which `accepts` takes, and lists the wanted parts that it
/// has. A key of one path also needs a record that passes `is_whole`.
///
/// In a scope the key itself comes first, then the prefixes in their order, and among the keys of
/// one prefix the newest; then the next scope. One round of listings requests all of them; a second
/// round checks whether the result has expired. A key with only some of the wanted parts is
/// accepted: missing parts are not taken from another key, because the parts of a build belong
/// together.
pub async fn find_key(
    remote: &DynRemote,
    wanted: &KeyQuery,
    accepts: impl Fn(Option<&CachePart>) -> bool,
    is_whole: impl Fn(&RefRecord) -> bool,
) -> Result<Option<FoundKey>> {
    let accepts = (accepts, is_whole);
    let wanted = Arc::new(wanted.clone());
    let in_scopes = wanted.scopes.iter().cloned().map(|scope| {
        let (remote, wanted) = (remote.clone(), Arc::clone(&wanted));
        async move {
            let prefixes = wanted.prefixes.iter().cloned().map(|prefix| {
                let (remote, scope) = (remote.clone(), scope.clone());
                async move { (list_keys(&remote, &scope, &prefix).await, prefix) }
            });
            let exact = list_parts(&remote, &scope, &wanted.key);
            tokio::join!(exact, join_all(prefixes))
        }
    });
    for (exact, prefixes) in join_all(in_scopes).await {
        if let Some(found) = best_match(remote, exact?, MatchKind::Exact, &accepts).await? {
            return Ok(Some(found));
        }
        for (listed, prefix) in prefixes {
            let kind = MatchKind::Prefix(prefix);
            if let Some(found) = best_match(remote, listed?, kind, &accepts).await? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// The first key of a list, newest first, that has a wanted part which has not expired.
async fn best_match(
    remote: &DynRemote,
    listed: Vec<ListedKey>,
    kind: MatchKind,
    (accepts, is_whole): &(
        impl Fn(Option<&CachePart>) -> bool,
        impl Fn(&RefRecord) -> bool,
    ),
) -> Result<Option<FoundKey>> {
    let is_exact = kind == MatchKind::Exact;
    let mut left = listed;
    left.retain(|listed| accepts(listed.name.part.as_ref()));
    while let Some(first) = left.first().map(|listed| listed.name.clone()) {
        let of_first = |listed: &ListedKey| {
            (&listed.name.scope, &listed.name.key) == (&first.scope, &first.key)
        };
        let (candidates, others): (Vec<_>, Vec<_>) = left.into_iter().partition(of_first);
        left = others;
        let reads = candidates.into_iter().map(|listed| {
            let remote = remote.clone();
            async move {
                let part = listed.name.part.clone();
                let records = match is_exact {
                    true => read_records(&remote, &listed.name).await,
                    false => read_candidate(&remote, listed).await,
                };
                (records, part)
            }
        });
        let mut parts = Vec::new();
        for (records, part) in join_all(reads).await {
            let is_wanted = |record: &RefRecord| part.is_some() || is_whole(record);
            if retain_unexpired(records?).iter().any(is_wanted) {
                parts.push(part);
            }
        }
        if !parts.is_empty() {
            parts.sort();
            return Ok(Some(FoundKey {
                scope: first.scope,
                key: first.key,
                kind,
                parts,
            }));
        }
    }
    Ok(None)
}

/// Lists the parts of a key, or the single cache of a key without parts, the newest first.
pub async fn list_parts(remote: &DynRemote, scope: &Scope, key: &Key) -> Result<Vec<ListedKey>> {
    let objects = remote.list(&parts_prefix(scope, key)).await?;
    let mut listed = group_saves(&objects);
    listed.retain(|listed| listed.name.key == *key);
    Ok(listed)
}
