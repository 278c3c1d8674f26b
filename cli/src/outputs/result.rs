//! The result of a command for one cache, in the form that outputs need.

use std::time::Duration;

use cachefs_store::layer::TreeTotals;
use cachefs_store::remote::RemoteTraffic;

/// Operation on a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheAction {
    Restore,
    Save,
}

/// The match of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyMatch {
    /// The exact key.
    Exact,
    /// A key with one of the prefixes, or only layers below the key's own.
    Partial,
    /// No key.
    Miss,
}

/// The result of a command for one cache: the values that JSON, CI outputs and metrics have in
/// common.
#[derive(Debug, Clone)]
pub(crate) struct CacheResult {
    /// Restored or saved.
    pub(crate) action: CacheAction,
    /// The cache's name, if the command processes several.
    pub(crate) name: Option<String>,
    /// The requested or saved key.
    pub(crate) key: String,
    /// The scope that was searched first or saved to.
    pub(crate) scope: String,
    /// The cached path.
    pub(crate) path: String,
    /// The match; `None` for a save, and for a restore that failed.
    pub(crate) hit: Option<KeyMatch>,
    /// The key that was restored.
    pub(crate) matched_key: Option<String>,
    /// The scope of the matched key.
    pub(crate) matched_scope: Option<String>,
    /// Short name of the result, as in the command's JSON.
    pub(crate) result: &'static str,
    /// Number of layers.
    pub(crate) layers: u64,
    /// Totals of the cache's tree, if known.
    pub(crate) tree: Option<TreeTotals>,
    /// Bytes that a save had to store.
    pub(crate) new_bytes: u64,
    /// Duration of the operation.
    pub(crate) elapsed: Duration,
    /// Requests and bytes so far.
    pub(crate) traffic: RemoteTraffic,
    /// The likeliest reason for a miss, or the reason for a failure.
    pub(crate) remark: Option<String>,
    /// Notes and warnings.
    pub(crate) notes: Vec<String>,
}

impl CacheResult {
    /// Whether the path now has content of a cache.
    pub(crate) fn is_found(&self) -> bool {
        matches!(self.hit, Some(KeyMatch::Exact | KeyMatch::Partial))
    }
}

/// The combined match of several restores: exact if all are, a miss if nothing was restored,
/// partial otherwise. The outputs of CI systems treat a failure as a miss.
pub(crate) fn overall_match(results: &[&CacheResult]) -> KeyMatch {
    if results
        .iter()
        .all(|result| result.hit == Some(KeyMatch::Exact))
    {
        KeyMatch::Exact
    } else if !results.iter().any(|result| result.is_found()) {
        KeyMatch::Miss
    } else {
        KeyMatch::Partial
    }
}

/// The cache's name as an identifier, with `separator` for characters that outputs do not allow.
pub(crate) fn cache_identifier(name: &str, separator: char) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c
            } else {
                separator
            }
        })
        .collect()
}
