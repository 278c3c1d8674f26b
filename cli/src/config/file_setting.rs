//! The value of an option from a file.

use super::error::FilePosition;
use super::find::ConfigLevel;

/// A file's value for one option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSetting {
    /// The values, in the format of the option's parser.
    pub(crate) values: Vec<String>,
    /// The position in the file.
    pub(crate) place: FilePosition,
    /// Level of the file.
    pub(crate) level: ConfigLevel,
}
