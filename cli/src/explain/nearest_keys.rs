//! Finds the existing keys that are nearest to a missing one.

use cachefs_store::id::SaveId;
use cachefs_store::refs::{Creator, ListedKey, Platform, RefName, read_newest};
use cachefs_store::remote::DynRemote;
use tokio::task::JoinSet;

use super::compare::{Comparison, compare_inputs};
use super::key_similarity::common_words;
use crate::keys::KeyPart;

/// An existing key, compared with the requested one.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// The key.
    pub(crate) name: RefName,
    /// Time of its last save, in microseconds since 1970.
    pub(crate) micros: u64,
    /// Whether it has expired.
    pub(crate) expired: bool,
    /// Creator of the save.
    pub(crate) creator: Creator,
    /// Platform of the save.
    pub(crate) platform: Platform,
    /// The comparison of its inputs with ours; `None` if its record has none.
    pub(crate) comparison: Option<Comparison>,
}

/// Reads the records of the most similar keys, at most `limit` of them in parallel, and ranks them
/// by agreement, then by age. Unreadable records are skipped.
pub(super) async fn read_nearest(
    remote: &DynRemote,
    key: &str,
    parts: &[KeyPart],
    mut listed: Vec<ListedKey>,
    limit: usize,
) -> Vec<Candidate> {
    listed.sort_by_key(|listed| {
        let words = common_words(key, listed.name.key.as_str());
        std::cmp::Reverse((words, listed.newest))
    });
    let mut reads = JoinSet::new();
    for listed in listed.into_iter().take(limit) {
        let remote = remote.clone();
        reads.spawn(async move { read_newest(&remote, &listed).await });
    }
    let mut candidates = Vec::new();
    while let Some(read) = reads.join_next().await {
        let record = match read {
            Ok(Ok(Some(record))) => record,
            Ok(Err(error)) => {
                tracing::debug!("ignoring a record: {error}");
                continue;
            }
            _ => continue,
        };
        candidates.push(Candidate {
            name: record.name(),
            micros: record.id.micros,
            expired: record.is_expired(SaveId::now().micros),
            comparison: parts_of(&record.parts).map(|saved| compare_inputs(parts, &saved)),
            creator: record.creator,
            platform: record.platform,
        });
    }
    rank_candidates(key, &mut candidates);
    retain_related(key, candidates)
}

/// Drops keys of other caches: those with nothing in common with the key, or with less than half of
/// the nearest key's similarity.
fn retain_related(key: &str, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    let nearness = |it: &Candidate| it.comparison.as_ref().map(|it| it.nearness);
    let best = candidates.iter().find_map(nearness).unwrap_or(0.0);
    candidates.retain(|candidate| match nearness(candidate) {
        Some(near) => near > 0.0 && near >= best / 2.0,
        None => common_words(key, candidate.name.key.as_str()) > 0,
    });
    candidates
}

/// The inputs in a record; `None` if it has none that this version can parse.
pub(super) fn parts_of(parts: &serde_json::Value) -> Option<Vec<KeyPart>> {
    let parts: Vec<KeyPart> = serde_json::from_value(parts.clone()).ok()?;
    (!parts.is_empty()).then_some(parts)
}

fn rank_candidates(key: &str, candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| {
        let near = |it: &Candidate| it.comparison.as_ref().map_or(0.0, |c| c.nearness);
        let text = |it: &Candidate| common_words(key, it.name.key.as_str());
        near(b)
            .total_cmp(&near(a))
            .then(text(b).cmp(&text(a)))
            .then(b.micros.cmp(&a.micros))
    });
}

#[cfg(test)]
mod tests {
    use cachefs_store::refs::{Key, Scope};

    use super::*;

    fn candidate(key: &str, micros: u64, nearness: Option<f64>) -> Candidate {
        Candidate {
            name: RefName::new(Scope::new("main").unwrap(), Key::new(key).unwrap()),
            micros,
            expired: false,
            creator: Creator::default(),
            platform: Platform::default(),
            comparison: nearness.map(|nearness| Comparison {
                differences: Vec::new(),
                agree: (0, 0),
                nearness,
            }),
        }
    }

    #[test]
    fn agreement_comes_before_text_and_text_before_age() {
        let mut candidates = [
            candidate("m2-b", 9, None),
            candidate("m2-old", 1, Some(0.9)),
            candidate("m2-new", 2, Some(0.9)),
            candidate("npm-x", 10, Some(0.1)),
            candidate("other", 10, None),
        ];
        rank_candidates("m2-a", &mut candidates);
        let keys = |candidates: &[Candidate]| -> Vec<String> {
            candidates
                .iter()
                .map(|it| it.name.key.to_string())
                .collect()
        };
        assert_eq!(
            keys(&candidates),
            ["m2-new", "m2-old", "npm-x", "m2-b", "other"]
        );
        let related = retain_related("m2-a", candidates.to_vec());
        assert_eq!(keys(&related), ["m2-new", "m2-old", "m2-b"]);
    }
}
