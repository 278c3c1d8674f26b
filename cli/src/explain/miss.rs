//! Explains a key: where it was looked up, the existing keys, and the nearest ones.

use std::collections::BTreeMap;

use cachefs_store::ErrorKind;
use cachefs_store::id::SaveId;
use cachefs_store::local::LayerCache;
use cachefs_store::refs::{
    KeyQuery, ListedKey, MatchKind, RefName, Scope, Survey, find_key, read_newest, survey_keys,
};
use cachefs_store::remote::DynRemote;
use cachefs_store::restore::without_lost_parts;
use serde::Serialize;

use super::compare::InputDifference;
use super::key_similarity::without_platform;
use super::nearest_keys::{Candidate, read_nearest};
use crate::keys::KeyPart;

/// Pages of keys that are listed; a page has about 1,000 objects, two or more for each key.
const PAGES: usize = 20;
/// Records that are read.
const RECORDS: usize = 24;
/// Number of near keys to report.
const TOLD: usize = 5;

/// A question to explain.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The query of the restore.
    pub(crate) wanted: KeyQuery,
    /// The inputs of the key.
    pub(crate) parts: Vec<KeyPart>,
}

/// A scope that was looked at, or could have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ScopeReport {
    pub(crate) scope: String,
    /// Number of listed keys.
    pub(crate) keys: usize,
    /// The key or a key with one of the prefixes, if it is here.
    pub(crate) matched_key: Option<String>,
    /// When that was saved last.
    #[serde(
        rename = "saved_at",
        serialize_with = "crate::json_output::serialize_optional_time"
    )]
    pub(crate) saved_micros: Option<u64>,
    /// When that expires or expired; null for never, and where it was not looked up.
    #[serde(
        rename = "expires_at",
        serialize_with = "crate::json_output::serialize_optional_time"
    )]
    pub(crate) expires_micros: Option<u64>,
    /// Whether it has expired: a restore passes it over then.
    pub(crate) expired: bool,
}

/// A key that is similar to the requested one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Near {
    pub(crate) key: String,
    pub(crate) scope: String,
    /// Whether a restore looks into that scope.
    pub(crate) searched: bool,
    #[serde(
        rename = "saved_at",
        serialize_with = "crate::json_output::serialize_time"
    )]
    pub(crate) saved_micros: u64,
    /// Whether it has expired.
    pub(crate) expired: bool,
    pub(crate) host: String,
    pub(crate) job: Option<String>,
    pub(crate) platform: String,
    /// Number of inputs with the same value; absent if the record does not contain inputs.
    pub(crate) inputs_agree: Option<usize>,
    pub(crate) inputs: Option<usize>,
    pub(crate) differences: Vec<InputDifference>,
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Explanation {
    pub(crate) key: String,
    pub(crate) prefixes: Vec<String>,
    /// The present result of a restore: `exact`, `prefix` or `miss`.
    #[serde(rename = "match")]
    pub(crate) matched: &'static str,
    pub(crate) matched_key: Option<String>,
    pub(crate) matched_scope: Option<String>,
    /// Reason why the existing key cannot be served: the remote lost or damaged a part of it.
    pub(crate) lost: Option<String>,
    /// The scopes a restore looks into, in their order.
    pub(crate) searched: Vec<ScopeReport>,
    /// Other scopes that have a match.
    pub(crate) not_searched: Vec<ScopeReport>,
    /// Whether all keys of all scopes were listed. Otherwise there may be an unreported match.
    pub(crate) all_listed: bool,
    /// Why other scopes are not known, if they are not.
    pub(crate) others_unknown: Option<String>,
    /// Keys that differ only by case, operating system or architecture.
    pub(crate) other_platform: Vec<String>,
    /// The nearest keys, the nearest first.
    pub(crate) nearest: Vec<Near>,
}

/// Explains the present result of a restore, and why it does not find the exact key.
pub(crate) async fn explain_restore(
    layers: &LayerCache,
    remote: &DynRemote,
    question: &Question,
) -> cachefs::Result<Explanation> {
    let wanted = &question.wanted;
    let (found, listed) = tokio::join!(
        find_key(remote, wanted, |_| true, |_| true),
        list_keys(remote, &wanted.scopes)
    );
    let (found, (listed, others_unknown)) = (found?, listed?);
    let (found, lost) = match found {
        Some(found) => match without_lost_parts(layers, remote, found).await {
            Ok(Ok(found)) => (Some(found), None),
            Ok(Err(lost)) => (None, Some(lost)),
            Err(error) if error.kind() == ErrorKind::Integrity => (
                None,
                Some(cachefs::describe_chain(&cachefs::Error::from(error))),
            ),
            Err(error) => return Err(error.into()),
        },
        None => (None, None),
    };
    let key = wanted.key.as_str();
    let mut scopes: BTreeMap<&Scope, Vec<&ListedKey>> = BTreeMap::new();
    for listed in &listed.keys {
        scopes.entry(&listed.name.scope).or_default().push(listed);
    }
    let report = |scope: &Scope| {
        let keys = scopes.get(scope).map_or(&[][..], Vec::as_slice);
        let matched = best_key(keys, wanted);
        ScopeReport {
            scope: scope.to_string(),
            keys: keys.len(),
            matched_key: matched.map(|listed| listed.name.key.to_string()),
            saved_micros: matched.map(|listed| listed.newest),
            expires_micros: None,
            expired: false,
        }
    };
    let mut searched: Vec<_> = wanted.scopes.iter().map(report).collect();
    let is_other = |scope: &&&Scope| !wanted.scopes.contains(scope);
    let mut not_searched: Vec<_> = scopes
        .keys()
        .filter(is_other)
        .map(|scope| report(scope))
        .filter(|report| report.matched_key.is_some())
        .collect();
    let reports = searched.iter_mut().chain(&mut not_searched);
    for report in reports.take(RECORDS) {
        let scope = scopes
            .iter()
            .find(|(scope, _)| scope.as_str() == report.scope);
        let matched = scope.and_then(|(_, keys)| best_key(keys, wanted));
        let Some(matched) = matched else { continue };
        // A record that cannot be read is reported by the restore.
        if let Ok(Some(record)) = read_newest(remote, matched).await {
            report.expires_micros = record.expires;
            report.expired = record.is_expired(SaveId::now().micros);
        }
    }
    let alike = without_platform(key);
    let is_twin =
        |name: &RefName| name.key.as_str() != key && without_platform(name.key.as_str()) == alike;
    let mut other_platform: Vec<_> = listed
        .keys
        .iter()
        .filter(|listed| is_twin(&listed.name))
        .map(|listed| listed.name.to_string())
        .collect();
    other_platform.truncate(TOLD);
    let is_candidate = |listed: &&ListedKey| listed.name.key.as_str() != key;
    let candidates: Vec<_> = listed.keys.iter().filter(is_candidate).cloned().collect();
    let nearest = read_nearest(remote, key, &question.parts, candidates, RECORDS).await;
    let (matched, name) = match found {
        None => ("miss", None),
        Some(found) => match found.kind {
            MatchKind::Exact => ("exact", Some((found.key, found.scope))),
            MatchKind::Prefix(_) => ("prefix", Some((found.key, found.scope))),
        },
    };
    Ok(Explanation {
        key: key.to_owned(),
        prefixes: wanted.prefixes.clone(),
        matched,
        matched_key: name.as_ref().map(|(key, _)| key.to_string()),
        matched_scope: name.map(|(_, scope)| scope.to_string()),
        lost,
        searched,
        not_searched,
        all_listed: listed.is_complete,
        others_unknown,
        other_platform,
        nearest: nearest
            .into_iter()
            .take(TOLD)
            .map(|candidate| near_key(candidate, &wanted.scopes))
            .collect(),
    })
}

/// All keys that may be listed, and why others may not.
async fn list_keys(
    remote: &DynRemote,
    scopes: &[Scope],
) -> cachefs_store::Result<(Survey, Option<String>)> {
    match survey_keys(remote, None, PAGES).await {
        Ok(listed) => Ok((listed, None)),
        // Credentials may be good for some scopes only.
        Err(error) if error.kind() == ErrorKind::Backend && !scopes.is_empty() => {
            let mut all = Survey {
                is_complete: true,
                ..Survey::default()
            };
            for scope in scopes {
                let part =
                    survey_keys(remote, Some((scope, "")), PAGES / scopes.len().max(1)).await?;
                all.is_complete &= part.is_complete;
                all.keys.extend(part.keys);
            }
            Ok((all, Some(cachefs::describe_chain(&error))))
        }
        Err(error) => Err(error),
    }
}

/// The choice of a restore among these keys of one scope, newest first.
fn best_key<'a>(keys: &[&'a ListedKey], wanted: &KeyQuery) -> Option<&'a ListedKey> {
    let exact = keys.iter().find(|listed| listed.name.key == wanted.key);
    let by_prefix = || {
        wanted.prefixes.iter().find_map(|prefix| {
            keys.iter()
                .find(|listed| listed.name.key.as_str().starts_with(prefix))
        })
    };
    exact.or_else(by_prefix).copied()
}

fn near_key(candidate: Candidate, scopes: &[Scope]) -> Near {
    let platform = &candidate.platform;
    let agree = candidate.comparison.as_ref().map(|it| it.agree);
    Near {
        key: candidate.name.key.to_string(),
        searched: scopes.contains(&candidate.name.scope),
        scope: candidate.name.scope.to_string(),
        saved_micros: candidate.micros,
        expired: candidate.expired,
        platform: format!("{} {}", platform.os, platform.arch),
        host: candidate.creator.host,
        job: candidate.creator.job,
        inputs_agree: agree.map(|(agree, _)| agree),
        inputs: agree.map(|(_, inputs)| inputs),
        differences: candidate
            .comparison
            .map(|comparison| comparison.differences)
            .unwrap_or_default(),
    }
}
