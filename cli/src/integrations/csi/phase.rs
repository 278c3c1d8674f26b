//! The two commands that the service runs for a volume.

/// A command that the service runs for a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Restore,
    Save,
}

impl Phase {
    /// The command's name.
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

/// The commands that have an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Both,
    /// Both; the option also locates the remote.
    Remote,
    Restore,
    Save,
}
