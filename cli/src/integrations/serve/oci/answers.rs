//! The responses of the registry.

use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RANGE};
use hyper::{Response, StatusCode};

use super::error::RegistryError;
use super::names::{ContentDigest, RepositoryName};
use crate::integrations::serve::content::{AnswerBody, full_body};

/// The header with the digest of the response's content, or of the content that it names.
pub(super) const CONTENT_DIGEST: &str = "docker-content-digest";

/// A response, or an error that is converted to one.
pub(super) type RegistryResult = Result<Response<AnswerBody>, RegistryError>;

pub(super) fn blob_location(name: &RepositoryName, digest: &ContentDigest) -> String {
    format!("/v2/{name}/blobs/{digest}")
}

pub(super) fn base_answer() -> Response<AnswerBody> {
    let mut response = Response::new(full_body("{}"));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let version = HeaderValue::from_static("registry/2.0");
    headers.insert("docker-distribution-api-version", version);
    response
}

pub(super) fn empty_answer(status: StatusCode) -> Response<AnswerBody> {
    let mut response = Response::new(full_body(""));
    *response.status_mut() = status;
    response
}

pub(super) fn json_answer(body: &serde_json::Value, content_type: &'static str) -> RegistryResult {
    let mut response = Response::new(full_body(body.to_string()));
    insert_header(&mut response, CONTENT_TYPE.as_str(), content_type)?;
    Ok(response)
}

pub(super) fn created_answer(location: &str, digest: &ContentDigest) -> RegistryResult {
    let mut response = empty_answer(StatusCode::CREATED);
    insert_header(&mut response, LOCATION.as_str(), location)?;
    insert_header(&mut response, CONTENT_DIGEST, &digest.to_string())?;
    Ok(response)
}

/// The response for an upload in progress. `Range` has the last byte, so an empty upload has `0-0`.
pub(super) fn upload_answer(
    status: StatusCode,
    name: &RepositoryName,
    id: &str,
    size: u64,
) -> RegistryResult {
    let mut response = empty_answer(status);
    let location = format!("/v2/{name}/blobs/uploads/{id}");
    insert_header(&mut response, LOCATION.as_str(), &location)?;
    insert_header(
        &mut response,
        RANGE.as_str(),
        &format!("0-{}", size.saturating_sub(1)),
    )?;
    insert_header(&mut response, "docker-upload-uuid", id)?;
    Ok(response)
}

pub(super) fn insert_header(
    response: &mut Response<AnswerBody>,
    name: &str,
    value: &str,
) -> Result<(), RegistryError> {
    let invalid = || RegistryError::manifest_invalid(format!("`{value}` cannot be in a header"));
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
    let value = HeaderValue::from_str(value).map_err(|_| invalid())?;
    response.headers_mut().insert(name, value);
    Ok(())
}
