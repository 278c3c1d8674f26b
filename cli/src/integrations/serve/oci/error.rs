//! Errors of the distribution protocol.

use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::names::RouteError;
use crate::integrations::serve::content::{AnswerBody, full_body};

/// Seconds until a client may retry a request that failed because of the remote.
const RETRY_SECONDS: u64 = 5;

/// An error with its code from the specification.
#[derive(Debug)]
pub(super) struct RegistryError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl RegistryError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub(super) fn blob_unknown(digest: impl std::fmt::Display) -> Self {
        let message = format!("the registry has no blob {digest}");
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", message)
    }

    pub(super) fn manifest_unknown(name: impl std::fmt::Display) -> Self {
        let message = format!("the repository has no manifest {name}");
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
    }

    pub(super) fn manifest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message)
    }

    pub(super) fn digest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    pub(super) fn upload_unknown() -> Self {
        let message = "there is no such upload: it has ended, or was idle for too long";
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", message)
    }

    pub(super) fn upload_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }

    /// Whether the error is that something does not exist.
    pub(super) fn is_unknown(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// Converts the error to a response.
    pub(super) fn into_response(self) -> Response<AnswerBody> {
        let body = json!({ "errors": [{ "code": self.code, "message": self.message }] });
        let mut response = Response::new(full_body(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
        }
        response
    }
}

impl From<RouteError> for RegistryError {
    fn from(error: RouteError) -> Self {
        let invalid = StatusCode::BAD_REQUEST;
        match error {
            RouteError::Unknown => Self::new(
                StatusCode::NOT_FOUND,
                "UNSUPPORTED",
                "no path of the protocol",
            ),
            RouteError::Name => Self::new(invalid, "NAME_INVALID", "invalid repository name"),
            RouteError::Digest => Self::digest_invalid("invalid digest"),
            RouteError::Tag => Self::new(invalid, "TAG_INVALID", "invalid tag"),
        }
    }
}

impl From<cachefs::Error> for RegistryError {
    fn from(error: cachefs::Error) -> Self {
        Self::from(&error)
    }
}

impl From<Arc<cachefs::Error>> for RegistryError {
    fn from(error: Arc<cachefs::Error>) -> Self {
        Self::from(&*error)
    }
}

impl From<&cachefs::Error> for RegistryError {
    fn from(error: &cachefs::Error) -> Self {
        let message = cachefs::describe_chain(error);
        tracing::warn!("a request failed: {message}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message)
    }
}

impl From<cachefs_store::Error> for RegistryError {
    fn from(error: cachefs_store::Error) -> Self {
        Self::from(&cachefs::Error::from(error))
    }
}
