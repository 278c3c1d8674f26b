//! The type of a directory's filesystem, as far as it matters for the upper of an overlay.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

/// The kinds of filesystem that decide whether a directory can be an upper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilesystemKind {
    /// An overlay: never an upper.
    Overlay,
    /// Memory: a good upper that does not survive a reboot.
    Tmpfs,
    /// A network filesystem.
    Network(&'static str),
    /// A FUSE filesystem.
    Fuse,
    /// FAT and its kin: no extended attributes, no device nodes.
    Fat,
    /// Anything else; by its magic number.
    Other(u64),
}

impl FilesystemKind {
    /// Returns the filesystem of a descriptor.
    ///
    /// # Errors
    /// Those of `fstatfs`.
    pub fn of(dir: BorrowedFd<'_>) -> Result<Self, Errno> {
        // The field is signed or unsigned by architecture; the magic numbers have 32 bits.
        let magic = (rustix::fs::fstatfs(dir)?.f_type as u64) & 0xffff_ffff;
        Ok(Self::from_magic(magic))
    }

    /// Names the filesystem with this magic number (`statfs(2)`).
    pub fn from_magic(magic: u64) -> Self {
        match magic {
            0x794c_7630 => Self::Overlay,
            0x0102_1994 | 0x8584_58f6 => Self::Tmpfs,
            0x6969 => Self::Network("nfs"),
            0x517b | 0xff53_4d42 | 0xfe53_4d42 => Self::Network("smb"),
            0x0102_1997 => Self::Network("9p"),
            0x00c3_6400 => Self::Network("ceph"),
            0x6573_5546 => Self::Fuse,
            0x4d44 | 0x2011_bab0 => Self::Fat,
            other => Self::Other(other),
        }
    }

    /// Says why a directory of this kind cannot be an upper, if it is known not to.
    pub fn unfit_for_upper(self) -> Option<&'static str> {
        match self {
            Self::Overlay => Some("it is an overlay itself"),
            Self::Network(_) => Some("it is a network filesystem"),
            Self::Fuse => Some("it is a fuse filesystem"),
            Self::Fat => Some("it has neither extended attributes nor whiteouts"),
            Self::Tmpfs | Self::Other(_) => None,
        }
    }
}
