//! A result for tests.

use std::time::Duration;

use cachefs_store::layer::TreeTotals;
use cachefs_store::remote::RemoteTraffic;

use super::{CacheAction, CacheResult, KeyMatch};

pub(super) fn restored_result(key: &str, hit: KeyMatch) -> CacheResult {
    CacheResult {
        action: CacheAction::Restore,
        name: None,
        key: key.to_owned(),
        scope: "main".to_owned(),
        path: format!("/builds/{key}"),
        hit: Some(hit),
        matched_key: (hit != KeyMatch::Miss).then(|| key.to_owned()),
        result: if hit == KeyMatch::Miss {
            "miss"
        } else {
            "mounted"
        },
        layers: 1,
        tree: Some(TreeTotals {
            files: 10,
            bytes: 1000,
        }),
        new_bytes: 0,
        elapsed: Duration::from_millis(12),
        traffic: RemoteTraffic {
            gets: 2,
            lists: 1,
            ..RemoteTraffic::default()
        },
        matched_scope: (hit != KeyMatch::Miss).then(|| "main".to_owned()),
        remark: None,
        notes: Vec::new(),
    }
}
