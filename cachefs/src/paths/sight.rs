//! What the author of a path may see of this machine.

use std::path::{Path, PathBuf};

use super::real_path::real_path;

/// Where the meaning of a path is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// On the disk: links are resolved, and a name with special characters that exists is a name.
    Disk,
    /// Nowhere: the paths are another process's, whose root directory may be another one.
    Names,
}

impl Sight {
    pub(super) fn is_dir(self, path: &Path) -> bool {
        self == Self::Disk && path.is_dir()
    }

    pub(super) fn real(self, path: &Path) -> PathBuf {
        match self {
            Self::Disk => real_path(path),
            Self::Names => path.to_owned(),
        }
    }
}
