//! Looking around among the keys of a remote, for those who want to know why one is missing.

use std::collections::BTreeMap;

use super::name::{RefName, Scope, listing_prefix, parse_listing};
use super::record::Record;
use super::resolve::Listed;
use crate::error::Result;
use crate::id::SaveId;
use crate::remote::{DynRemote, RemoteErrorKind};

/// Keys that were found, and whether these are all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The keys, the one with the newest save first.
    pub keys: Vec<Listed>,
    /// Whether the listing came to its end.
    pub is_complete: bool,
}

/// Lists keys that start with `prefix` in one scope, or all keys of all scopes, with at most
/// `pages` requests.
pub async fn survey(
    remote: &DynRemote,
    within: Option<(&Scope, &str)>,
    pages: usize,
) -> Result<Survey> {
    let prefix = match within {
        Some((scope, prefix)) => listing_prefix(scope, prefix),
        None => "refs/".to_owned(),
    };
    let mut found: BTreeMap<RefName, Vec<SaveId>> = BTreeMap::new();
    let mut next = None;
    let mut is_complete = false;
    for _ in 0..pages {
        let page = remote.list_page(&prefix, next.as_deref()).await?;
        for (name, save) in page.objects.iter().filter_map(|it| parse_listing(&it.key)) {
            found.entry(name).or_default().push(save);
        }
        next = page.next;
        if next.is_none() {
            is_complete = true;
            break;
        }
    }
    Ok(Survey {
        keys: newest_first(found),
        is_complete,
    })
}

/// Keys with their saves, the one with the newest save first.
pub(super) fn newest_first(found: BTreeMap<RefName, Vec<SaveId>>) -> Vec<Listed> {
    let mut listed: Vec<_> = found
        .into_iter()
        .map(|(name, mut saves)| {
            saves.sort();
            Listed { name, saves }
        })
        .collect();
    listed.sort_by_key(|listed| std::cmp::Reverse(listed.saves.last().copied()));
    listed
}

/// Reads the newest record of a key that was just listed, with one request; `None` if it is gone.
pub async fn read_newest(remote: &DynRemote, listed: &Listed) -> Result<Option<Record>> {
    let Some(newest) = listed.saves.last() else {
        return Ok(None);
    };
    let object = listed.name.record(newest);
    match remote.get(&object).await {
        Ok(bytes) => Record::decode(&object, &bytes).map(Some),
        Err(error) if error.kind() == RemoteErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
