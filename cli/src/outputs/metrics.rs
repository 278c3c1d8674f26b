//! The file of figures that `--metrics-file` names.

use serde::Serialize;

use super::result::{CacheAction, CacheResult, KeyMatch};
use crate::json_output;
use crate::output::RequestCounts;

#[derive(Serialize)]
struct Metrics<'a> {
    version: u32,
    cachefs: &'static str,
    caches: Vec<CacheMetrics<'a>>,
}

#[derive(Serialize)]
struct CacheMetrics<'a> {
    action: &'static str,
    name: Option<&'a str>,
    key: &'a str,
    scope: &'a str,
    path: &'a str,
    #[serde(rename = "match")]
    matched: Option<&'static str>,
    matched_key: Option<&'a str>,
    result: &'static str,
    layers: u64,
    files: Option<u64>,
    bytes: Option<u64>,
    new_bytes: u64,
    duration_ms: f64,
    requests: RequestCounts,
    retries: u64,
    bytes_received: u64,
    bytes_sent: u64,
    remark: Option<&'a str>,
}

/// The file's text.
pub(super) fn metrics_json(results: &[CacheResult]) -> String {
    let caches = results.iter().map(|result| CacheMetrics {
        action: match result.action {
            CacheAction::Restore => "restore",
            CacheAction::Save => "save",
        },
        name: result.name.as_deref(),
        key: &result.key,
        scope: &result.scope,
        path: &result.path,
        matched: result.hit.map(|hit| match hit {
            KeyMatch::Exact => "exact",
            KeyMatch::Partial => "prefix",
            KeyMatch::Miss => "miss",
        }),
        matched_key: result.matched_key.as_deref(),
        result: result.result,
        layers: result.layers,
        files: result.tree.map(|tree| tree.files),
        bytes: result.tree.map(|tree| tree.bytes),
        new_bytes: result.new_bytes,
        duration_ms: result.elapsed.as_secs_f64() * 1000.0,
        requests: (&result.traffic).into(),
        retries: result.traffic.retries,
        bytes_received: result.traffic.bytes_in,
        bytes_sent: result.traffic.bytes_out,
        remark: result.remark.as_deref(),
    });
    json_line(&Metrics {
        version: json_output::VERSION,
        cachefs: cachefs::VERSION,
        caches: caches.collect(),
    })
}

/// JSON on one line.
pub(super) fn json_line(value: &impl Serialize) -> String {
    // Encoding fails only for maps with keys that are not strings, and for values whose own code
    // refuses.
    let mut value = serde_json::to_value(value).unwrap_or_default();
    json_output::add_old_names(&mut value);
    let mut text = json_output::json_line(value);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::testing::restored_result;
    use super::*;

    #[test]
    fn figures_of_every_cache() {
        let text = metrics_json(&[
            restored_result("a", KeyMatch::Exact),
            restored_result("b", KeyMatch::Miss),
        ]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["version"], 1);
        assert_eq!(value["caches"][0]["match"], "exact");
        assert_eq!(value["caches"][0]["requests"]["get"], 2);
        assert_eq!(value["caches"][1]["matched_key"], serde_json::Value::Null);
        assert_eq!(value["caches"][1]["duration_ms"], 12.0);
        // The old name.
        assert_eq!(value["caches"][1]["milliseconds"], 12.0);
    }

    #[test]
    fn a_failure_is_no_miss() {
        let failed = CacheResult {
            hit: None,
            result: "failed",
            tree: None,
            ..restored_result("a", KeyMatch::Miss)
        };
        let value: serde_json::Value = serde_json::from_str(&metrics_json(&[failed])).unwrap();
        let cache = &value["caches"][0];
        assert_eq!(cache["match"], serde_json::Value::Null);
        assert_eq!(cache["result"], "failed");
        assert_eq!(cache["duration_ms"], 12.0);
        assert_eq!(cache["requests"]["get"], 2);
        assert_eq!(cache["bytes"], serde_json::Value::Null);
    }
}
