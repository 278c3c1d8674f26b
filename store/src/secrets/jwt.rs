//! JSON Web Tokens.
//!
//! Documents and tests are full of them, so only those count that can still be used: they say when
//! they end, and that is to come; or they are Kubernetes service accounts of the kind that never
//! ends. A token only ever goes from counting to not counting, so a file without a finding stays
//! without one.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::text::{is_word, run};

/// No part of a token is longer.
const LONGEST: usize = 8 << 10;

/// Whether a token that can still be used begins at `at`.
pub(super) fn is_live(content: &[u8], at: Range<usize>) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    is_live_at(content, at, now.as_secs() as f64)
}

fn is_live_at(content: &[u8], at: Range<usize>, now: f64) -> bool {
    let Some((header, rest)) = part(&content[at.start..]) else {
        return false;
    };
    let Some((payload, rest)) = rest.strip_prefix(b".").and_then(part) else {
        return false;
    };
    let Some((signature, _)) = rest.strip_prefix(b".").and_then(part) else {
        return false;
    };
    if signature.len() < 20 || json(header).is_none_or(|header| header["alg"].is_null()) {
        return false;
    }
    let Some(payload) = json(payload) else {
        return false;
    };
    match payload["exp"].as_f64() {
        // Examples end at 9999999999.
        Some(end) => end > now && end < now + 20.0 * 365.0 * 86_400.0,
        None => payload["iss"] == "kubernetes/serviceaccount",
    }
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let part = run(bytes, is_word, LONGEST);
    (part.len() >= 10).then(|| bytes.split_at(part.len()))
}

fn json(part: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> Vec<u8> {
        let signature = "c2lnbmF0dXJlc2lnbmF0dXJl";
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(payload)).into_bytes()
    }

    #[test]
    fn only_those_that_can_still_be_used() {
        let live = |payload| is_live_at(&token(payload), 0..8, 1_800_000_000.0);
        assert!(live(r#"{"sub":"1","exp":1800003600}"#));
        assert!(!live(r#"{"sub":"1","exp":1700000000}"#));
        assert!(!live(
            r#"{"sub":"1234567890","name":"John Doe","iat":1516239022}"#
        ));
        assert!(!live(r#"{"exp":9999999999}"#));
        assert!(live(
            r#"{"iss":"kubernetes/serviceaccount","sub":"system"}"#
        ));
    }
}
