//! Building the errors of archives.

use super::error::ArchiveError;
use crate::error::Error;

/// A member that cannot be taken.
pub(super) fn refused(name: &[u8], what: impl Into<String>) -> Error {
    let refused = ArchiveError::Refused {
        name: display_name(name),
        what: what.into(),
    };
    refused.into()
}

/// Bytes that are not those of an archive.
pub(super) fn damaged(detail: impl Into<String>) -> Error {
    ArchiveError::Damaged(detail.into()).into()
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
        return damaged("it is truncated");
    }
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => damaged(error.to_string()),
    }
}
