//! The error of this crate, classified by the action that a caller can take.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::ArchiveError;
pub use crate::error_kind::ErrorKind;
use crate::path_limit::MAX_PATH;
use crate::remote::{RemoteError, RemoteErrorKind, SpecError};

/// A failure in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A request to the remote failed.
    #[error("remote request failed")]
    Remote(#[from] RemoteError),
    /// The address or the options of the remote can't be used.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A local file operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The action that failed, as a verb: `read`, `create`.
        action: &'static str,
        /// The file it was tried on.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// Bytes do not have the form or the hash that they should have.
    #[error("{what} is damaged: {detail}")]
    Damaged {
        /// The object, as `layer 12ab…`.
        what: String,
        /// Description of the damage, as a fragment such as `the trailer is truncated`.
        detail: String,
    },
    /// An object is empty or ends early: a write that a power cut or a full disk interrupted. It
    /// counts as absent, and the next write replaces it.
    #[error("{what} is empty or truncated")]
    Torn {
        /// The object, as `ref refs/main/…`.
        what: String,
    },
    /// Bytes were written by a newer version that this one must not guess at.
    #[error("{what} has an unsupported format ({detail})")]
    Unsupported {
        /// The object, as `pack 12ab…`.
        what: String,
        /// The version or the feature flags that are unknown.
        detail: String,
    },
    /// The local index failed.
    #[error("the local index failed: {0}")]
    Index(String),
    /// A file was written to while it was being saved.
    #[error("{} changed during the save", path.display())]
    Changed {
        /// The file, relative to the saved directory.
        path: PathBuf,
    },
    /// A limit of the format was reached.
    #[error("{what} exceeds the limit of one layer ({limit})")]
    TooLarge {
        /// The plural noun that exceeds its limit, such as `entries`.
        what: &'static str,
        /// The limit, with its unit.
        limit: String,
    },
    /// Directories are nested so deeply that paths are longer than [`MAX_PATH`].
    #[error("paths in {} are longer than {MAX_PATH} bytes", start_of(directory))]
    PathTooLong {
        /// The directory whose entries have such paths, relative to the root.
        directory: PathBuf,
    },
    /// An archive can't be taken.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A key or a scope can't be used.
    #[error("{0}")]
    InvalidName(String),
    /// The collector is about to remove, or has removed, an object that a new ref would name.
    #[error("{what} has been garbage-collected")]
    BeingCollected {
        /// The object, as `layer 12ab…`.
        what: String,
    },
    /// The remote lost data of the cache that is mounted at a path. Its changes mean nothing without the
    /// rest.
    #[error("the remote lost data of the cache that is mounted at {}", path.display())]
    LostBelow {
        /// The path.
        path: PathBuf,
    },
    /// An archive is needed a second time, and its source can be read only once.
    #[error("the remote lost packs with known files of the archive")]
    ArchiveConsumed,
    /// The remote no longer has an object that a record or a layer names.
    #[error("the remote no longer has {what}, which the cache needs")]
    Lost {
        /// The object, as `pack 12ab…`.
        what: String,
    },
    /// A failure that several concurrent readers share, because they waited for one request.
    #[error(transparent)]
    Shared(Arc<Error>),
    /// The work took so long that its initial assumptions no longer hold.
    #[error("{what} timed out after {} min", limit.as_secs() / 60)]
    TookTooLong {
        /// The work.
        what: &'static str,
        /// The time that it had.
        limit: std::time::Duration,
    },
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Wraps a local I/O error; for use in `map_err`.
    pub fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// Builds a [`Error::Damaged`].
    pub fn damaged(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Damaged {
            what: what.into(),
            detail: detail.into(),
        }
    }

    /// The class of the error; see [`ErrorKind`].
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Remote(error) => match error.kind() {
                RemoteErrorKind::Damaged | RemoteErrorKind::TooLarge => ErrorKind::Integrity,
                RemoteErrorKind::Invalid => ErrorKind::Usage,
                _ => ErrorKind::Backend,
            },
            Self::TookTooLong { .. } => ErrorKind::Backend,
            Self::Io { .. } | Self::Index(_) | Self::LostBelow { .. } | Self::ArchiveConsumed => {
                ErrorKind::Local
            }
            Self::Damaged { .. }
            | Self::Torn { .. }
            | Self::Unsupported { .. }
            | Self::Lost { .. } => ErrorKind::Integrity,
            Self::Changed { .. } | Self::BeingCollected { .. } => ErrorKind::Changed,
            Self::Archive(error) => error.kind(),
            Self::Spec(_)
            | Self::TooLarge { .. }
            | Self::PathTooLong { .. }
            | Self::InvalidName(_) => ErrorKind::Usage,
            Self::Shared(error) => error.kind(),
            Self::Cancelled => ErrorKind::Cancelled,
        }
    }

    /// Whether the remote lost an object that a record or a layer names.
    pub fn is_lost(&self) -> bool {
        match self {
            Self::Lost { .. } => true,
            Self::Shared(error) => error.is_lost(),
            _ => false,
        }
    }

    /// Whether the remote has an object whose bytes are not those that were stored.
    pub fn is_damaged(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Remote(error) => error.kind() == RemoteErrorKind::Damaged,
            Self::Shared(error) => error.is_damaged(),
            _ => false,
        }
    }

    /// Whether the remote answered that an object is not there.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Remote(error) => error.kind() == RemoteErrorKind::NotFound,
            Self::Shared(error) => error.is_not_found(),
            _ => false,
        }
    }
}

/// The first parts of a path that is too long to be shown.
fn start_of(path: &Path) -> String {
    let text = path.to_string_lossy();
    let mut start: String = text.chars().take(100).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

/// The result of most of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
