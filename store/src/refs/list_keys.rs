//! Lists the keys of a remote, to explain a miss.

use std::collections::HashSet;

use super::name::{Scope, listing_prefix};
use super::record::{MAX_RECORD, RefRecord};
use super::resolve::{ListedKey, group_saves};
use crate::error::Result;
use crate::remote::{DynRemote, RemoteErrorKind};

/// Keys that were found, and whether these are all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The keys, the one with the newest save first; of a key of several parts, the part with the
    /// newest save.
    pub keys: Vec<ListedKey>,
    /// Whether the listing came to its end.
    pub is_complete: bool,
}

/// Lists keys that start with `prefix` in one scope, or all keys of all scopes, with at most
/// `pages` requests.
pub async fn survey_keys(
    remote: &DynRemote,
    within: Option<(&Scope, &str)>,
    pages: usize,
) -> Result<Survey> {
    let prefix = match within {
        Some((scope, prefix)) => listing_prefix(scope, prefix),
        None => "refs/".to_owned(),
    };
    let mut found = Vec::new();
    let mut next = None;
    let mut is_complete = false;
    for _ in 0..pages {
        let page = remote.list_page(&prefix, next.as_deref()).await?;
        found.extend(page.objects);
        next = page.next;
        if next.is_none() {
            is_complete = true;
            break;
        }
    }
    let mut keys = group_saves(&found);
    let mut seen = HashSet::new();
    keys.retain(|listed| seen.insert((listed.name.scope.clone(), listed.name.key.clone())));
    Ok(Survey { keys, is_complete })
}

/// Reads the newest record of a key that was just listed, with one request; `None` if it is gone.
pub async fn read_newest(remote: &DynRemote, listed: &ListedKey) -> Result<Option<RefRecord>> {
    let Some(newest) = listed.saves.last() else {
        return Ok(None);
    };
    let object = listed.name.record(newest);
    match remote.get(&object, MAX_RECORD).await {
        Ok(bytes) => RefRecord::decode(&object, &bytes).map(Some),
        Err(error) if error.kind() == RemoteErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
