//! The payload of the event that started a build, if the CI system writes one to a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

use serde_json::Value;

/// The variable with the file's path, in GitHub Actions and compatible systems.
pub(super) const VARIABLE: &str = "GITHUB_EVENT_PATH";

/// GitHub limits events to 25 MB.
const MAX_EVENT: u64 = 32 << 20;

/// Reads the payload; null if it is missing or not valid JSON.
pub(super) fn read_event(env: &BTreeMap<String, String>) -> Value {
    let read = || {
        let file = File::open(env.get(VARIABLE)?).ok()?;
        let mut bytes = Vec::new();
        file.take(MAX_EVENT).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    read().unwrap_or_default()
}

/// The text at `pointer` in the payload.
pub(super) fn event_text(event: &Value, pointer: &str) -> Option<String> {
    match event.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
