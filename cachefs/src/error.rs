//! The error of this crate: the failure, its class, and a hint for the user.

use std::path::PathBuf;
use std::time::Duration;

use cachefs_store::remote::{RemoteError, RemoteErrorKind, RemoteTraffic, SpecError};
use cachefs_store::{Error as StoreError, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::containers::FindError;
use crate::sys::fdpass::FrameError;
use crate::sys::foreign_mount::ForeignMountError;
use crate::sys::mount_error::MountError;
use crate::sys::spawn::SpawnError;
use crate::sys::unmount::UnmountError;
use cachefs_store::Hint;

/// A failure on the other side of the socket.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RemoteFailure {
    /// The class of the failure.
    pub kind: FailureKind,
    /// The message with its causes.
    pub message: String,
    /// Advice to the user.
    #[serde(default, rename = "remedy")]
    pub hint: Option<Hint>,
    /// The traffic with the remote until the failure.
    #[serde(default)]
    pub traffic: Box<RemoteTraffic>,
}

impl RemoteFailure {
    /// The failure of an operation that cost this.
    pub(crate) fn after(error: &Error, traffic: RemoteTraffic) -> Self {
        Self {
            traffic: Box::new(traffic),
            ..Self::from(error)
        }
    }
}

/// [`ErrorKind`] as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the names are those of `ErrorKind`, which documents them"
)]
pub enum FailureKind {
    Usage,
    Backend,
    Integrity,
    Local,
    Changed,
    Cancelled,
    /// [`ErrorKind::Integrity`], as [`Error::is_lost`].
    Lost,
}

/// A failure of a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The remote's address or options can't be used.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The daemon answered with a failure.
    #[error(transparent)]
    Daemon(#[from] RemoteFailure),
    /// The remote lost a part of a cache: why that cannot be served.
    #[error("{0}")]
    Lost(String),
    /// The daemon could not be started.
    #[error("cannot start the daemon")]
    Start(#[from] SpawnError),
    /// Nobody listens at the socket of a share.
    #[error("no daemon at {}", path.display())]
    NoShare {
        /// The socket.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The conversation with the daemon broke off.
    #[error("the daemon does not respond")]
    Conversation(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A mount failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// An unmount failed.
    #[error(transparent)]
    Unmount(#[from] UnmountError),
    /// A directory could not be shown in a container, or taken away there.
    #[error(transparent)]
    ForeignMount(#[from] ForeignMountError),
    /// A container was not found.
    #[error(transparent)]
    Find(#[from] FindError),
    /// A local file operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The action that failed, as a verb.
        action: &'static str,
        /// The path that the action failed on.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// Something on this machine is not as a command left it.
    #[error("{message}")]
    State {
        /// Description of the fault.
        message: String,
        /// Advice to the user.
        hint: Hint,
    },
    /// A restore or save did not end in the time it had as a whole.
    #[error("{what} timed out after {}", format_seconds(.limit))]
    TooLate {
        /// The operation that took too long, as `the restore of /root/.m2`.
        what: String,
        /// The time it had.
        limit: Duration,
        /// Advice to the user.
        hint: Hint,
    },
    /// The caller asked for something that can't be.
    #[error("{message}")]
    Usage {
        /// Description of the fault.
        message: String,
        /// An alternative that works.
        hint: Option<Hint>,
    },
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Self {
        Self::Conversation(error.into())
    }
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

    /// Builds a usage error.
    pub fn usage(message: impl Into<String>, hint: impl Into<Hint>) -> Self {
        Self::Usage {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// The class of the error; see [`ErrorKind`].
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Spec(_) | Self::Find(_) | Self::Usage { .. } => ErrorKind::Usage,
            Self::Daemon(failure) => match failure.kind {
                FailureKind::Usage => ErrorKind::Usage,
                FailureKind::Backend => ErrorKind::Backend,
                FailureKind::Integrity | FailureKind::Lost => ErrorKind::Integrity,
                FailureKind::Local => ErrorKind::Local,
                FailureKind::Changed => ErrorKind::Changed,
                FailureKind::Cancelled => ErrorKind::Cancelled,
            },
            Self::Lost(_) => ErrorKind::Integrity,
            Self::TooLate { .. } => ErrorKind::Backend,
            Self::Start(_)
            | Self::NoShare { .. }
            | Self::State { .. }
            | Self::Conversation(_)
            | Self::Mount(_)
            | Self::Unmount(_)
            | Self::ForeignMount(_)
            | Self::Io { .. } => ErrorKind::Local,
        }
    }

    /// Whether the remote lost an object that a record or a layer names. A restore treats that as a
    /// miss.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Store(error) => error.is_lost(),
            Self::Daemon(failure) => failure.kind == FailureKind::Lost,
            _ => false,
        }
    }

    /// Advice to the user, if there is any.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Store(error) => store_hint(error),
            Self::Lost(_) => Some(Hint::RepairLostKeys),
            Self::Spec(error) => Some(error.hint()),
            Self::Daemon(failure) => failure.hint.clone(),
            Self::Mount(error) => error.hint().map(Hint::from),
            Self::Unmount(error) => error.hint(),
            Self::ForeignMount(error) => error.hint(),
            Self::Find(error) => Some(error.hint().into()),
            Self::Usage { hint, .. } => hint.clone(),
            Self::State { hint, .. } | Self::TooLate { hint, .. } => Some(hint.clone()),
            Self::Io { source, path, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied => Some(
                    format!(
                        "run as a user who may access {}, or name another",
                        path.display()
                    )
                    .into(),
                ),
                _ => io_hint(source),
            },
            Self::NoShare { .. } => Some(Hint::ShareDaemon),
            Self::Start(SpawnError::Log { source, .. }) if io_hint(source).is_some() => {
                io_hint(source)
            }
            Self::Start(SpawnError::Reported {
                hint: Some(hint), ..
            }) => Some(hint.clone()),
            Self::Start(_) | Self::Conversation(_) => Some(Hint::SeeDaemonLog),
        }
    }
}

fn format_seconds(time: &Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

fn store_hint(error: &StoreError) -> Option<Hint> {
    match error {
        StoreError::Remote(error) => Some(remote_hint(error)),
        StoreError::Spec(error) => Some(error.hint()),
        StoreError::Changed { .. } => {
            Some("save again when nothing writes to the directory any more".into())
        }
        StoreError::BeingCollected { .. } => Some(
            "restore the key again, or another one if it was deleted, and save again; other keys are not affected"
                .into(),
        ),
        StoreError::LostBelow { .. } => Some(
            Hint::RefillPath,
        ),
        StoreError::ArchiveConsumed => Some("import it again: they are stored anew".into()),
        StoreError::Unsupported { .. } => Some("it was written by a newer cachefs; update this one".into()),
        StoreError::Damaged { .. } => {
            Some(Hint::RepairDamage)
        }
        StoreError::Lost { .. } => Some(Hint::RepairLostKeys),
        StoreError::Torn { .. } => {
            Some("a power cut or a full disk interrupted its write; save again to replace it".into())
        }
        StoreError::TookTooLong { .. } => Some(
            Hint::RaiseGracePeriod,
        ),
        StoreError::Index(_) => {
            Some("see `daemon.log` in the store directory; nothing is lost if `index` there is removed".into())
        }
        StoreError::InvalidName(_) => {
            Some("use letters, digits and `-`; put what is long or odd into a checksum".into())
        }
        StoreError::PathTooLong { .. } => {
            Some(Hint::ExcludeDirectory)
        }
        StoreError::Archive(error) => Some(error.hint()),
        StoreError::Io { source, .. } => io_hint(source),
        StoreError::Shared(error) => store_hint(error),
        _ => None,
    }
}

fn io_hint(error: &std::io::Error) -> Option<Hint> {
    use std::io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem, StorageFull};
    let hint = match error.kind() {
        PermissionDenied => "run as a user who may access it",
        StorageFull => "free some space on that filesystem",
        ReadOnlyFilesystem => "choose a place that can be written to",
        NotADirectory => "a part of the path is a file; name another",
        _ => return None,
    };
    Some(hint.into())
}

/// The advice of the remote, or the usual fix for failures of this kind.
fn remote_hint(error: &RemoteError) -> Hint {
    use RemoteErrorKind::{Damaged, Deadline, Denied, Exists, Full, NoRemote, NotFound};
    if let Some(hint) = error.hint() {
        return hint.clone();
    }
    match error.kind() {
        Denied => Hint::CheckCredentials,
        NoRemote => Hint::CorrectRemote,
        Full => "free some space at the remote".into(),
        Damaged => Hint::CheckData,
        Exists => "save again".into(),
        NotFound => "something deleted it just now; try again".into(),
        Deadline => Hint::RaiseTimeout,
        _ => Hint::CheckRemote,
    }
}

/// An error with all its causes, on one line.
pub fn describe_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = one_line(error);
    let mut last = text.clone();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = one_line(cause);
        if !text.contains(&cause_text) {
            text.push_str(": ");
            // Both parts of a message may begin with the same action.
            let told = last.split_once(": ").map_or("", |(action, _)| action);
            let news = cause_text
                .split_once(": ")
                .filter(|(action, _)| *action == told);
            text.push_str(news.map_or(&*cause_text, |(_, news)| news));
        }
        last = cause_text;
        source = cause.source();
    }
    text
}

fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.to_string();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    lines.join(" ")
}

impl From<&Error> for RemoteFailure {
    fn from(error: &Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Usage => FailureKind::Usage,
            ErrorKind::Backend => FailureKind::Backend,
            ErrorKind::Integrity if error.is_lost() => FailureKind::Lost,
            ErrorKind::Integrity => FailureKind::Integrity,
            ErrorKind::Local => FailureKind::Local,
            ErrorKind::Changed => FailureKind::Changed,
            ErrorKind::Cancelled => FailureKind::Cancelled,
        };
        Self {
            kind,
            message: describe_chain(error),
            hint: error.hint(),
            traffic: match error {
                Error::Daemon(failure) => failure.traffic.clone(),
                _ => Box::default(),
            },
        }
    }
}

/// The result of most of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
