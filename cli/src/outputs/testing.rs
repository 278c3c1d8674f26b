//! A result to test with.

use std::time::Duration;

use cachefs_store::layer::Totals;
use cachefs_store::remote::Traffic;

use super::{Action, CacheResult, Hit};

pub(super) fn restored(key: &str, hit: Hit) -> CacheResult {
    CacheResult {
        action: Action::Restore,
        name: None,
        key: key.to_owned(),
        scope: "main".to_owned(),
        path: format!("/builds/{key}"),
        hit: Some(hit),
        matched_key: (hit != Hit::Miss).then(|| key.to_owned()),
        result: if hit == Hit::Miss { "miss" } else { "mounted" },
        layers: 1,
        tree: Some(Totals {
            files: 10,
            bytes: 1000,
        }),
        new_bytes: 0,
        elapsed: Duration::from_millis(12),
        traffic: Traffic {
            gets: 2,
            lists: 1,
            ..Traffic::default()
        },
        cost: None,
        remark: None,
    }
}
