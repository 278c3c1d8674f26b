//! The line that `restore` adds if the exact key was not found.

use std::time::Duration;

use cachefs_store::id::SaveId;
use cachefs_store::refs::{Creator, KeyQuery, RefRecord, read_newest, survey_keys};
use cachefs_store::remote::DynRemote;

use super::compare::{Comparison, InputDifference, compare_inputs};
use super::key_similarity::without_platform;
use super::nearest_keys::{parts_of, read_nearest};
use crate::keys::{KeyPart, PartKind};
use crate::output;

/// Maximum time that the explanation may add to a miss.
const PATIENCE: Duration = Duration::from_secs(3);
/// Number of pages of keys to list in each scope.
const PAGES: usize = 1;
/// Maximum number of records to read.
const RECORDS: usize = 4;
/// Maximum number of differences to list.
const NAMED: usize = 3;

/// A short explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Brief {
    /// The line for users, without the cache's name as prefix.
    pub(crate) line: String,
}

/// Explains a match by prefix: lists the inputs that differ, using only the record.
pub(crate) fn of_match(parts: &[KeyPart], record: &RefRecord) -> Option<Brief> {
    let compared = compare_inputs(parts, &parts_of(&record.parts)?);
    if compared.differences.is_empty() {
        return None;
    }
    let since = saved_text(record.key.as_str(), record.id.micros, &record.creator);
    Some(Brief {
        line: format!("{} since {since}", differences_text(&compared)),
    })
}

/// Explains a miss by the nearest key in the searched scopes. Takes two rounds of a few requests
/// and has a short deadline; failures are not reported.
pub(crate) async fn of_miss(
    remote: &DynRemote,
    wanted: &KeyQuery,
    parts: &[KeyPart],
) -> Option<Brief> {
    let found = tokio::time::timeout(PATIENCE, explain_briefly(remote, wanted, parts)).await;
    found.ok().flatten()
}

async fn explain_briefly(
    remote: &DynRemote,
    wanted: &KeyQuery,
    parts: &[KeyPart],
) -> Option<Brief> {
    let key = wanted.key.as_str();
    let prefix = literal_prefix(parts);
    let mut listed = Vec::new();
    for scope in &wanted.scopes {
        match survey_keys(remote, Some((scope, prefix)), PAGES).await {
            Ok(survey) => listed.extend(survey.keys),
            Err(error) => tracing::debug!("ignoring scope {scope}: {error}"),
        }
    }
    let alike = without_platform(key);
    let twins = || {
        let mut twins = listed.iter();
        let found = twins.find(|listed| listed.name.key.as_str() == key);
        let mut others = listed.iter();
        found.or_else(|| others.find(|listed| without_platform(listed.name.key.as_str()) == alike))
    };
    if let Some(twin) = twins() {
        let record = read_newest(remote, twin).await.ok().flatten();
        let twin = twin.name.key.as_str();
        let expired = record.and_then(|record| expired_text(&record));
        return Some(Brief {
            line: match (expired, twin == key) {
                (Some(when), _) => format!("{twin} expired {when}"),
                (None, true) => format!("{twin} exists, but was saved from other paths"),
                (None, false) => {
                    format!("{twin} exists, and differs only by case or platform")
                }
            },
        });
    }
    if listed.is_empty() {
        let scopes: Vec<_> = wanted.scopes.iter().map(|scope| scope.as_str()).collect();
        return Some(Brief {
            line: match prefix {
                "" => format!("scope {} has no keys", scopes.join(", ")),
                _ => format!(
                    "no key in scope {} starts with `{prefix}`",
                    scopes.join(", ")
                ),
            },
        });
    }
    let candidates = read_nearest(remote, key, parts, listed, RECORDS).await;
    let first = candidates.first()?;
    let since = saved_text(first.name.key.as_str(), first.micros, &first.creator);
    let line = match &first.comparison {
        Some(compared) if !compared.differences.is_empty() => {
            format!("{} since {since}", differences_text(compared))
        }
        _ => format!("the nearest key is {since}"),
    };
    Some(Brief { line })
}

/// The time since a record expired; `None` if it has not.
pub(super) fn expired_text(record: &RefRecord) -> Option<String> {
    let expires = record.expires?;
    record
        .is_expired(SaveId::now().micros)
        .then(|| output::format_until(expires))
}

/// The literal text at the start of a key, which does not depend on its inputs.
pub(super) fn literal_prefix(parts: &[KeyPart]) -> &str {
    parts
        .first()
        .filter(|part| part.kind == PartKind::Text)
        .map_or("", |part| &part.value)
}

/// Formats a save: `m2-ab12 was saved 3 h ago by build`.
fn saved_text(key: &str, micros: u64, creator: &Creator) -> String {
    let by = match &creator.job {
        Some(job) => format!("job {job}"),
        None => creator.host.clone(),
    };
    format!("{key} was saved {} by {by}", output::format_age(micros))
}

fn differences_text(compared: &Comparison) -> String {
    let all = &compared.differences;
    let mut words: Vec<_> = all.iter().take(NAMED).map(InputDifference::words).collect();
    if all.len() > NAMED {
        words.push(format!("{} more differ", all.len() - NAMED));
    }
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
        None => String::new(),
    }
}
