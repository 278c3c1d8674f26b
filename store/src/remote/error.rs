//! Failures of a remote, classified by the possible reactions of the caller.

use std::fmt;

use crate::hint::Hint;

/// Class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemoteErrorKind {
    /// The remote answered that the object does not exist. Never used for an outage.
    NotFound,
    /// The bucket, container or directory itself is not there.
    NoRemote,
    /// Credentials are missing, wrong or not allowed to do this (401, 403).
    Denied,
    /// The object exists already (412 to a conditional write).
    Exists,
    /// Busy, throttled, unreachable, or a server error: worth another try (409, 429, 5xx, network).
    Unavailable,
    /// The deadline passed; the last cause, if any, is the source.
    Deadline,
    /// Fewer or other bytes than the remote promised.
    Damaged,
    /// The object is larger than the limit for its kind; the bytes read so far are dropped.
    TooLarge,
    /// No space left where the object should go.
    Full,
    /// The request itself is wrong (400 and the like) or the configuration is.
    Invalid,
}

impl RemoteErrorKind {
    /// Whether the same request may succeed later.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unavailable | Self::Damaged)
    }
}

/// A failed request to a remote.
#[derive(Debug)]
pub struct RemoteError {
    kind: RemoteErrorKind,
    /// The failed request, such as `get packs/ab…`.
    action: String,
    hint: Option<Box<Hint>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl RemoteError {
    /// Builds an error; `action` names the operation and the object.
    pub fn new(kind: RemoteErrorKind, action: impl Into<String>) -> Self {
        Self {
            kind,
            action: action.into(),
            hint: None,
            source: None,
        }
    }

    /// Builds the failure of a read that was to have `limit` bytes at most.
    pub(crate) fn too_large(action: impl ToString, limit: u64) -> Self {
        Self::new(RemoteErrorKind::TooLarge, action.to_string())
            .with_source(format!("the limit is {limit} bytes"))
    }

    /// Attaches the underlying cause.
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Attaches advice for the user, kept apart from the message.
    pub fn with_hint(mut self, hint: impl Into<Hint>) -> Self {
        self.hint = Some(Box::new(hint.into()));
        self
    }

    /// Class of the failure.
    pub fn kind(&self) -> RemoteErrorKind {
        self.kind
    }

    /// The operation and object it happened to.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// Advice for the user, if there is any.
    pub fn hint(&self) -> Option<&Hint> {
        self.hint.as_deref()
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            RemoteErrorKind::NotFound => "not found",
            RemoteErrorKind::NoRemote => "the remote does not exist",
            RemoteErrorKind::Denied => "access denied",
            RemoteErrorKind::Exists => "exists already",
            RemoteErrorKind::Unavailable => "the remote is unavailable",
            RemoteErrorKind::Deadline => "timed out",
            RemoteErrorKind::Damaged => "the response was damaged or truncated",
            RemoteErrorKind::TooLarge => "the object exceeds the size limit",
            RemoteErrorKind::Full => "no space left",
            RemoteErrorKind::Invalid => "invalid request",
        };
        write!(f, "{}: {what}", self.action)
    }
}

impl std::error::Error for RemoteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
