//! Errors of archives.

use crate::error_kind::ErrorKind;
use crate::hint::Hint;

/// Why an archive was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The bytes are not those of a tar archive, or end too early.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// A member that no honest archive of a cache has.
    #[error("invalid archive: `{name}` {what}")]
    Refused {
        /// The member, as it can be shown.
        name: String,
        /// The unsupported feature, as a verb with its object.
        what: String,
    },
    /// Names that lead out of the directory that the archive is to become.
    #[error("`{name}` in the archive does not lie below one directory")]
    Outside {
        /// The member, as it can be shown.
        name: String,
    },
    /// No member is where the caller looks.
    #[error("the archive has no members below {wanted}")]
    Nothing {
        /// Where the caller looks.
        wanted: String,
        /// A member that there is.
        seen: Option<String>,
    },
    /// It holds more than the caller takes.
    #[error("the archive unpacks to more than {limit}")]
    TooLarge {
        /// The limit, with its unit.
        limit: String,
    },
}

impl ArchiveError {
    /// Class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Damaged(_) | Self::Refused { .. } => ErrorKind::Integrity,
            Self::Outside { .. } | Self::Nothing { .. } | Self::TooLarge { .. } => ErrorKind::Usage,
        }
    }

    /// Advice for the user.
    pub fn hint(&self) -> Hint {
        match self {
            Self::Damaged(_) => {
                "expected a tar archive, plain or compressed with gzip or zstd; nothing was saved"
                    .into()
            }
            Self::Refused { .. } => {
                "cache tools do not write such members; nothing was saved".into()
            }
            Self::Outside { .. } => Hint::NameArchivedDirectory,
            Self::Nothing { seen, .. } => match seen {
                Some(name) => Hint::NameDirectoryInArchive {
                    member: name.clone(),
                },
                None => "it is empty".into(),
            },
            Self::TooLarge { .. } => Hint::RaiseArchiveLimit,
        }
    }
}
