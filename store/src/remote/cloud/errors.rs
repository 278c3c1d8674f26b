//! Classifies failures of Google Cloud Storage and Azure in one place.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::remote::http_status::{NotFoundSubject, find_cause, kind_of_status};
use crate::remote::{RemoteError, RemoteErrorKind};

/// Sender of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The object store.
    Store,
    /// The service that issues credentials.
    Credentials,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "the server",
            Self::Credentials => "the credentials server",
        })
    }
}

/// A request that did not succeed. It is found again in the chain of `object_store`'s own errors.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum CloudFailure {
    #[error("{0} answered {1}")]
    Answered(Asked, CloudResponse),
    #[error("{0} could not be reached")]
    Unanswered(Asked, #[source] Arc<dyn Error + Send + Sync>),
    #[error("the response ended early")]
    Broken(#[source] Arc<dyn Error + Send + Sync>),
    #[error("the response is too large")]
    TooLong,
    #[error("cannot read the CA certificates of this system")]
    Certificates(#[source] Arc<std::io::Error>),
}

/// The answer of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CloudResponse {
    status: u16,
    code: Option<String>,
    message: Option<String>,
}

impl CloudResponse {
    /// Reads code and message from a body: XML from stores, JSON from services that issue
    /// credentials.
    pub(super) fn new(status: u16, code: Option<&str>, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let field = |pointer: &str| {
            let json = json.as_ref()?.pointer(pointer)?.as_str()?;
            Some(json.to_owned())
        };
        let code = code.map(str::to_owned);
        let code = code
            .or_else(|| xml_element(&text, "Code"))
            .or_else(|| field("/error"))
            .or_else(|| field("/error/status"));
        let message = xml_element(&text, "Message")
            .or_else(|| field("/error_description"))
            .or_else(|| field("/error/message"));
        Self {
            status,
            code,
            // Further lines have the number and time of the request.
            message: message.and_then(|text| text.lines().next().map(str::to_owned)),
        }
    }
}

impl fmt::Display for CloudResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for text in [&self.code, &self.message].into_iter().flatten() {
            write!(f, " {text}")?;
        }
        Ok(())
    }
}

/// The text of the first element of a name.
fn xml_element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once('<')?;
    Some(text.to_owned())
}

/// There are no credentials, or they cannot be used. Anything but a refusal by a server.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum CredentialError {
    #[error("no credentials found")]
    None,
    #[error("cannot read `{path}`")]
    Unreadable {
        path: String,
        source: Arc<std::io::Error>,
    },
    #[error("cannot use the credentials in {place}: {reason}")]
    Unusable { place: String, reason: String },
    #[error("unexpected response of the credentials server")]
    Answer,
}

/// The store whose failures are classified; it determines the advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vendor {
    Google,
    Azure,
}

impl Vendor {
    fn without_credentials(self) -> &'static str {
        match self {
            Self::Google => {
                "set GOOGLE_APPLICATION_CREDENTIALS for this command, or run `gcloud auth application-default login`"
            }
            Self::Azure => {
                "set AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET, for this command"
            }
        }
    }

    fn hint(self, status: u16, code: Option<&str>) -> Option<&'static str> {
        Some(match (self, status, code) {
            (_, _, Some("NoSuchBucket")) => "create the bucket, or correct its name",
            (_, _, Some("ContainerNotFound")) => "create the container, or correct its name",
            (_, _, Some("ContainerBeingDeleted")) => "the container is being deleted",
            (_, _, Some("KeyBasedAuthenticationNotPermitted")) => {
                "the storage account forbids shared keys; use a client ID or a managed identity"
            }
            (Self::Azure, _, Some("AuthenticationFailed")) => {
                "check that the key or token belongs to this storage account and has not expired, and check the clock of this machine"
            }
            (Self::Azure, _, Some("AuthorizationFailure")) => {
                "check that the key or token belongs to this storage account, and that its firewall allows this machine"
            }
            (Self::Azure, 403, _) => {
                "grant the identity the role `Storage Blob Data Contributor` on the container, or the token the permissions rwdl"
            }
            (Self::Google, 401, _) => {
                "the credentials have expired or are not Google's; renew them"
            }
            (Self::Google, 403, _) => {
                "grant the account the role `Storage Object User` on the bucket"
            }
            _ => return None,
        })
    }
}

/// Translates a failure of `object_store`.
pub(super) fn classify_failure(
    vendor: Vendor,
    action: &str,
    subject: NotFoundSubject,
    error: object_store::Error,
) -> RemoteError {
    if let Some(failure) = find_cause::<CloudFailure>(&error) {
        return from_failure(vendor, action, subject, failure.clone());
    }
    if let Some(cause) = find_cause::<CredentialError>(&error) {
        return from_credentials(vendor, action, cause.clone());
    }
    let kind = match &error {
        // `object_store` found a folder of that name itself.
        object_store::Error::NotFound { .. } => kind_of(subject, 404, None),
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => RemoteErrorKind::Denied,
        // The status is a success, but the rest of the answer is invalid.
        _ => RemoteErrorKind::Damaged,
    };
    RemoteError::new(kind, action).with_source(error)
}

/// Translates a failure to find credentials.
pub(super) fn from_credentials(
    vendor: Vendor,
    action: &str,
    error: CredentialError,
) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Denied, action)
        .with_source(error)
        .with_hint(vendor.without_credentials())
}

fn from_failure(
    vendor: Vendor,
    action: &str,
    subject: NotFoundSubject,
    failure: CloudFailure,
) -> RemoteError {
    let (kind, hint) = match &failure {
        CloudFailure::Answered(Asked::Store, answered) => {
            let code = answered.code.as_deref();
            let kind = kind_of(subject, answered.status, code);
            (kind, vendor.hint(answered.status, code))
        }
        CloudFailure::Answered(Asked::Credentials, answered) => match answered.status {
            408 | 425 | 429 | 500.. => (RemoteErrorKind::Unavailable, None),
            _ => (RemoteErrorKind::Denied, Some(vendor.without_credentials())),
        },
        CloudFailure::Unanswered(..) => (RemoteErrorKind::Unavailable, None),
        // A server that sends without end would do so again.
        CloudFailure::TooLong => (RemoteErrorKind::Damaged, None),
        CloudFailure::Broken(_) => (RemoteErrorKind::Unavailable, None),
        CloudFailure::Certificates(_) => (
            RemoteErrorKind::Invalid,
            Some("install the package `ca-certificates`, or name a file in SSL_CERT_FILE"),
        ),
    };
    let error = RemoteError::new(kind, action).with_source(failure);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn kind_of(subject: NotFoundSubject, status: u16, code: Option<&str>) -> RemoteErrorKind {
    // The code says more than the status, where there is one; answers to HEAD may have none.
    match code {
        Some("NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted") => {
            return RemoteErrorKind::NoRemote;
        }
        Some("NoSuchKey" | "BlobNotFound") => return RemoteErrorKind::NotFound,
        Some("BlobAlreadyExists" | "ConditionNotMet" | "UploadConditionNotMet") => {
            return RemoteErrorKind::Exists;
        }
        // Answers with status 412 that are about a lease, which we never take.
        Some("LeaseIdMissing" | "LeaseIdMismatchWithBlobOperation") => {
            return RemoteErrorKind::Denied;
        }
        // Answers with status 400 that report data lost in transit.
        Some("RequestTimeout" | "IncompleteBody" | "BadDigest" | "Md5Mismatch") => {
            return RemoteErrorKind::Unavailable;
        }
        _ => {}
    }
    kind_of_status(subject, status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use RemoteErrorKind::*;

    #[test]
    fn codes_that_say_more_than_their_status() {
        for (status, code, kind) in [
            (404, "NoSuchBucket", NoRemote),
            (404, "ContainerNotFound", NoRemote),
            (409, "ContainerBeingDeleted", NoRemote),
            (404, "BlobNotFound", NotFound),
            (409, "BlobAlreadyExists", Exists),
            (412, "LeaseIdMissing", Denied),
            (400, "Md5Mismatch", Unavailable),
            (503, "ServerBusy", Unavailable),
            (403, "AuthorizationPermissionMismatch", Denied),
        ] {
            assert_eq!(
                kind_of(NotFoundSubject::Object, status, Some(code)),
                kind,
                "{code}"
            );
        }
    }

    #[test]
    fn answers_are_read_in_xml_and_json() {
        let xml = b"<?xml version='1.0'?><Error><Code>NoSuchBucket</Code>\
            <Message>It is not there.\nRequestId:1\nTime:2</Message></Error>";
        let answered = CloudResponse::new(404, None, xml);
        assert_eq!(answered.to_string(), "404 NoSuchBucket It is not there.");
        let json = br#"{"error":"invalid_grant","error_description":"Bad token"}"#;
        let answered = CloudResponse::new(400, None, json);
        assert_eq!(answered.to_string(), "400 invalid_grant Bad token");
        let json = br#"{"error":{"code":403,"message":"No access","status":"PERMISSION_DENIED"}}"#;
        let answered = CloudResponse::new(403, None, json);
        assert_eq!(answered.to_string(), "403 PERMISSION_DENIED No access");
        let header = CloudResponse::new(404, Some("BlobNotFound"), b"");
        assert_eq!(header.to_string(), "404 BlobNotFound");
        assert_eq!(
            CloudResponse::new(502, None, b"\xff<html>").to_string(),
            "502"
        );
    }
}
