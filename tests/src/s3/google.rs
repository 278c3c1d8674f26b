//! Google Cloud Storage as it differs from S3: no emulator that is at hand has its writes.
//!
//! Its XML interface is S3's, but for credentials, which are a token, and conditions, which are
//! about the generation of an object.

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue, IF_NONE_MATCH};
use hyper::{Request, StatusCode};

use super::TOKEN;

/// Makes a request one to S3; otherwise the status to refuse it with.
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
