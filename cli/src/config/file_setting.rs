//! A value that a file gives to an option.

use super::error::FilePosition;
use super::find::ConfigLevel;

/// A file's value for one option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSetting {
    /// The values, as the option's parser takes them.
    pub(crate) values: Vec<String>,
    /// Where the file says it.
    pub(crate) place: FilePosition,
    /// Level of the file.
    pub(crate) level: ConfigLevel,
}
