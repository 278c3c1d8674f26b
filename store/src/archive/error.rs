//! Errors of archives.

use crate::error::{Error, ErrorKind};

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
    pub fn hint(&self) -> String {
        match self {
            Self::Damaged(_) => {
                "expected a tar archive, plain or compressed with gzip or zstd; nothing was saved"
                    .to_owned()
            }
            Self::Refused { .. } => {
                "cache tools do not write such members; nothing was saved".to_owned()
            }
            Self::Outside { .. } => {
                "say with --path which directory was packed, or with --path-in-archive what it is called there"
                    .to_owned()
            }
            Self::Nothing { seen, .. } => match seen {
                Some(name) => format!(
                    "it has `{name}`, for example; --path-in-archive says what the directory is called there"
                ),
                None => "it is empty".to_owned(),
            },
            Self::TooLarge { .. } => "raise --max-size if that is what you expect".to_owned(),
        }
    }

    pub(super) fn refused(name: &[u8], what: impl Into<String>) -> Error {
        Self::Refused {
            name: display_name(name),
            what: what.into(),
        }
        .into()
    }

    pub(super) fn damaged(detail: impl Into<String>) -> Error {
        Self::Damaged(detail.into()).into()
    }
}

/// A name as it can be shown on one line.
pub(super) fn display_name(name: &[u8]) -> String {
    const LONGEST: usize = 200;
    let text = String::from_utf8_lossy(name);
    let start: String = text.chars().take(LONGEST).collect();
    start
        .chars()
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect()
}

/// A failure to read the archive's bytes: of the disk, of the remote, or of the bytes themselves.
pub(super) fn read_error(error: std::io::Error) -> Error {
    if error.raw_os_error().is_some() {
        return Error::io("read", "the archive")(error);
    }
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        return ArchiveError::damaged("it is truncated");
    }
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => ArchiveError::damaged(error.to_string()),
    }
}
