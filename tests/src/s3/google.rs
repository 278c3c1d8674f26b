//! Google Cloud Storage, where it differs from S3; no available emulator supports its writes.
//!
//! Its XML API matches S3 except for credentials, which are bearer tokens, and preconditions, which
//! refer to an object's generation.

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue, IF_NONE_MATCH};
use hyper::{Request, StatusCode};

use super::TOKEN;

/// Translates a request to S3, or returns the status to reject it with.
pub(super) fn translate(mut request: Request<Incoming>) -> Result<Request<Incoming>, StatusCode> {
    let headers = request.headers_mut();
    let expected = format!("Bearer {TOKEN}");
    if headers
        .remove(AUTHORIZATION)
        .is_none_or(|given| given != expected)
    {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let generation = HeaderName::from_static("x-goog-if-generation-match");
    match headers.remove(generation) {
        Some(generation) if generation == "0" => {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        Some(_) => return Err(StatusCode::NOT_IMPLEMENTED),
        None => {}
    }
    Ok(request)
}
