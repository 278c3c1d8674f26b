//! Classifies failures of S3 in one place.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ConnectorError, ProvideErrorMetadata, SdkError};

use crate::hint::Hint;
use crate::remote::http_status::{NotFoundSubject, find_cause, kind_of_status};
use crate::remote::{RemoteError, RemoteErrorKind};

/// No source of credentials is configured.
#[derive(Debug, thiserror::Error)]
#[error("no credentials found")]
struct NoCredentials;

/// The answer of the server.
#[derive(Debug, thiserror::Error)]
#[error("the server returned {status}{}{}", Spaced(.code), Spaced(.message))]
struct S3Response {
    status: u16,
    code: Option<String>,
    message: Option<String>,
}

/// Displays ` text`, or nothing for `None`.
struct Spaced<'a>(&'a Option<String>);

impl std::fmt::Display for Spaced<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |text| write!(f, " {text}"))
    }
}

/// Translates a failure of the SDK.
pub(super) fn from_sdk<E>(action: &str, subject: NotFoundSubject, error: SdkError<E>) -> RemoteError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            let meta = context.err().meta();
            let (code, message) = (meta.code(), meta.message());
            from_answer(action, subject, status, code, message)
        }
        SdkError::ResponseError(context) => match context.raw().status().as_u16() {
            // The status is a success, but the rest of the answer is invalid.
            200..=299 => {
                let cause = SdkError::<E>::ResponseError(context);
                RemoteError::new(RemoteErrorKind::Damaged, action).with_source(cause)
            }
            status => from_answer(action, subject, status, None, None),
        },
        SdkError::TimeoutError(_) => {
            RemoteError::new(RemoteErrorKind::Unavailable, action).with_source(error)
        }
        error => match credentials_error(&error) {
            Some(kind) => {
                let failure = RemoteError::new(kind, action);
                let failure = match find_cause(&error) {
                    // Its source describes the internals of the SDK's search, which do not help the
                    // user.
                    Some(CredentialsError::CredentialsNotLoaded(_)) => {
                        failure.with_source(NoCredentials)
                    }
                    _ => failure.with_source(error),
                };
                failure.with_hint(
                    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, for this command",
                )
            }
            None => RemoteError::new(classify_unanswered(&error), action).with_source(error),
        },
    }
}

fn from_answer(
    action: &str,
    subject: NotFoundSubject,
    status: u16,
    code: Option<&str>,
    message: Option<&str>,
) -> RemoteError {
    let answered = S3Response {
        status,
        code: code.map(str::to_owned),
        message: message.map(str::to_owned),
    };
    let error = RemoteError::new(kind_of(subject, status, code), action).with_source(answered);
    match status_hint(status, code).or_else(|| missing_permission(action, status, code)) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Says which permission a refused request takes, when it was refused for want of one.
fn missing_permission(action: &str, status: u16, code: Option<&str>) -> Option<Hint> {
    // Answers to HEAD have no code.
    if status != 403 || !matches!(code, None | Some("AccessDenied")) {
        return None;
    }
    let (verb, name) = action.split_once(' ')?;
    let permission = match verb {
        "get" | "head" => "s3:GetObject",
        "put" => "s3:PutObject",
        "list" => "s3:ListBucket",
        "delete" => "s3:DeleteObject",
        _ => return None,
    };
    Some(Hint::GrantPermission {
        permission: permission.to_owned(),
        object: name.to_owned(),
    })
}

fn kind_of(subject: NotFoundSubject, status: u16, code: Option<&str>) -> RemoteErrorKind {
    // The code says more than the status, where there is one; answers to HEAD have none.
    match code {
        Some("NoSuchBucket") => return RemoteErrorKind::NoRemote,
        Some("NoSuchKey") => return RemoteErrorKind::NotFound,
        Some("XMinioStorageFull" | "InsufficientStorage" | "QuotaExceeded") => {
            return RemoteErrorKind::Full;
        }
        // Answers with status 400 that are about credentials.
        Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
            return RemoteErrorKind::Denied;
        }
        // Status 400, too: the key that encrypts the bucket is disabled, deleted or not ours to use.
        Some(code) if code.starts_with("KMS.") => return RemoteErrorKind::Denied,
        // Answers with status 400 that report data lost in transit.
        Some("RequestTimeout" | "IncompleteBody" | "BadDigest") => {
            return RemoteErrorKind::Unavailable;
        }
        _ => {}
    }
    kind_of_status(subject, status)
}

fn status_hint(status: u16, code: Option<&str>) -> Option<Hint> {
    match (status, code) {
        (_, Some("NoSuchBucket")) => Some("create the bucket, or correct its name".into()),
        (_, Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired")) => {
            Some("the session's credentials have expired; renew them".into())
        }
        (_, Some(code)) if code.starts_with("KMS.") => {
            Some("enable the KMS key of the bucket, and grant its use to these credentials".into())
        }
        (_, Some("RequestTimeTooSkewed")) => Some("correct the clock of this machine".into()),
        (301 | 307, _)
        | (
            _,
            Some(
                "AuthorizationHeaderMalformed"
                | "PermanentRedirect"
                | "IllegalLocationConstraintException",
            ),
        ) => Some(Hint::SetBucketRegion),
        (501, _) => Some("the server does not support a required S3 feature".into()),
        _ => None,
    }
}

/// Classifies a request that got no answer.
fn classify_unanswered<E>(error: &SdkError<E>) -> RemoteErrorKind {
    match error {
        SdkError::ConstructionFailure(_) => RemoteErrorKind::Invalid,
        SdkError::DispatchFailure(failure) if failure.is_user() => RemoteErrorKind::Invalid,
        _ => RemoteErrorKind::Unavailable,
    }
}

/// Classifies a failed search for credentials; `None` if the error is not one.
fn credentials_error(error: &(dyn Error + 'static)) -> Option<RemoteErrorKind> {
    let mut cause = Some(error);
    let mut credentials = None;
    // The source of credentials may be as unreachable as the bucket.
    let mut unreachable = false;
    while let Some(error) = cause {
        match credentials {
            None => credentials = error.downcast_ref::<CredentialsError>(),
            Some(_) => unreachable |= error.is::<ConnectorError>(),
        }
        cause = error.source();
    }
    Some(match credentials? {
        CredentialsError::ProviderTimedOut(_) => RemoteErrorKind::Unavailable,
        _ if unreachable => RemoteErrorKind::Unavailable,
        _ => RemoteErrorKind::Denied,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use RemoteErrorKind::*;

    #[test]
    fn codes_that_say_more_than_their_status() {
        for (status, code, kind) in [
            (400, "ExpiredToken", Denied),
            (400, "RequestTimeout", Unavailable),
            (400, "KMS.DisabledException", Denied),
            (400, "KMS.KMSInvalidStateException", Denied),
            (400, "AuthorizationHeaderMalformed", Invalid),
            (403, "RequestTimeTooSkewed", Denied),
            (404, "NoSuchBucket", NoRemote),
            (404, "NoSuchKey", NotFound),
            (409, "ConditionalRequestConflict", Unavailable),
            (412, "PreconditionFailed", Exists),
            (503, "SlowDown", Unavailable),
            (507, "XMinioStorageFull", Full),
        ] {
            assert_eq!(
                kind_of(NotFoundSubject::Object, status, Some(code)),
                kind,
                "{code}"
            );
        }
    }
}
