//! Parses requests.

use std::collections::HashMap;

use http_body_util::{BodyExt as _, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CONTENT_RANGE, HeaderMap};

use super::error::RegistryError;
use super::manifests::MAX_MANIFEST;
use super::names::ContentDigest;

/// Whether a request continues an upload at `size`: it names this offset, or none.
pub(super) fn continues_at(headers: &HeaderMap, size: u64) -> bool {
    let Some(range) = header_text(headers, CONTENT_RANGE.as_str()) else {
        return true;
    };
    let range = range.trim().trim_start_matches("bytes ");
    let first = range.split_once('-').map(|(first, _)| first.trim());
    first.and_then(|first| first.parse().ok()) == Some(size)
}

pub(super) async fn read_manifest(body: Incoming) -> Result<Vec<u8>, RegistryError> {
    match Limited::new(body, MAX_MANIFEST as usize).collect().await {
        Ok(body) => Ok(body.to_bytes().to_vec()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let message = format!("the manifest has more than {MAX_MANIFEST} bytes");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            Err(RegistryError::new(status, "MANIFEST_INVALID", message))
        }
        Err(error) => Err(RegistryError::manifest_invalid(format!(
            "the request ended early: {error}"
        ))),
    }
}

pub(super) fn parse_digest(text: &str) -> Result<ContentDigest, RegistryError> {
    ContentDigest::parse(text)
        .ok_or_else(|| RegistryError::digest_invalid(format!("`{text}` is not a digest")))
}

pub(super) fn parse_query(query: Option<&str>) -> HashMap<String, String> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.into_owned().collect()
}

pub(super) fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
