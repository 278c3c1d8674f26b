//! The two commands that are run for a volume.

/// One of the two commands that are run for a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Restore,
    Save,
}

impl Phase {
    /// The command.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Save => "save",
        }
    }

    /// Whether the command has an option.
    pub(super) fn takes(self, of: Of) -> bool {
        match of {
            Of::Both | Of::Remote => true,
            Of::Restore => self == Self::Restore,
            Of::Save => self == Self::Save,
        }
    }
}

/// Which commands take an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Both,
    /// Both, and it says where the caches are.
    Remote,
    Restore,
    Save,
}
