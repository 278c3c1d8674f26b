//! How far a template reaches: a user's own sees the machine, a tenant's sees almost nothing.

use std::fs::{self, File, FileType};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::KeyContext;

/// Whose templates these are.
///
/// Annotations, volume options and attributes of pods are expanded by a service that has the host's
/// files and credentials. Whoever writes them must learn nothing of either, and a key can be seen
/// by anyone who sees the remote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Author {
    /// Whoever runs the command.
    #[default]
    User,
    /// Somebody else: no variables, and files of this directory only, which the service's flags
    /// allow; `None` for no files at all.
    Tenant {
        /// A directory that the service's flags name.
        allowed: Option<PathBuf>,
    },
}

/// The parts of the machine that a template can read.
#[derive(Debug)]
pub(crate) enum Reach {
    /// Whatever this process does.
    All,
    /// No variables, and files beneath this directory, if there is one.
    Beneath(Option<OwnedFd>),
}

impl Author {
    /// The files that this author's templates can read, in a workspace.
    ///
    /// # Errors
    ///
    /// When the workspace of a tenant is not below the directory that is allowed, or links lead
    /// there.
    pub(crate) fn reach(&self, workspace: &Path) -> io::Result<Reach> {
        let Self::Tenant { allowed } = self else {
            return Ok(Reach::All);
        };
        let Some(allowed) = allowed else {
            return Ok(Reach::Beneath(None));
        };
        let outside = |_| io::Error::from(io::ErrorKind::PermissionDenied);
        let below = workspace.strip_prefix(allowed).map_err(outside)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, allowed, flags, Mode::empty())?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let below = Path::new(".").join(below);
        Ok(Reach::Beneath(Some(openat2(
            root,
            below,
            flags,
            Mode::empty(),
            resolve,
        )?)))
    }
}

impl Reach {
    /// Whether the template is somebody else's.
    pub(super) fn is_limited(&self) -> bool {
        matches!(self, Self::Beneath(_))
    }

    /// Whether no file can be read.
    pub(super) fn has_no_files(&self) -> bool {
        matches!(self, Self::Beneath(None))
    }
}

/// The files of the workspace, by paths relative to it. Of a tenant's template, no link and no `..`
/// leads out, also while somebody changes the workspace.
impl KeyContext<'_> {
    /// Opens a regular file. Never waits, as a pipe would have it.
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        match self.reach {
            Reach::All => File::open(self.workspace.join(path)),
            Reach::Beneath(_) => {
                let file = File::from(self.beneath(path, OFlags::RDONLY | OFlags::NONBLOCK)?);
                match file.metadata()?.is_file() {
                    true => Ok(file),
                    false => Err(io::ErrorKind::InvalidInput.into()),
                }
            }
        }
    }

    /// The type of the file at a path, without following a link at its end.
    pub(super) fn kind(&self, path: &Path) -> io::Result<FileType> {
        match self.reach {
            Reach::All => Ok(fs::symlink_metadata(self.workspace.join(path))?.file_type()),
            Reach::Beneath(_) => {
                let found = File::from(self.beneath(path, OFlags::PATH | OFlags::NOFOLLOW)?);
                Ok(found.metadata()?.file_type())
            }
        }
    }

    /// Whether a path, links included, leads to a regular file.
    pub(super) fn is_file(&self, path: &Path) -> bool {
        match self.reach {
            Reach::All => self.workspace.join(path).is_file(),
            Reach::Beneath(_) => self.open(path).is_ok(),
        }
    }

    /// The names in a directory of `root`, the workspace without links.
    pub(super) fn names(
        &self,
        root: &Path,
        path: &Path,
    ) -> io::Result<Vec<(std::ffi::OsString, FileType)>> {
        let opened;
        let here = match self.reach {
            Reach::All => root.join(path),
            Reach::Beneath(_) => {
                opened = self.beneath(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
                PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()))
            }
        };
        let entries = fs::read_dir(here)?;
        entries
            .map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))))
            .collect()
    }

    fn beneath(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let Reach::Beneath(Some(root)) = self.reach else {
            return Err(io::ErrorKind::PermissionDenied.into());
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let path = Path::new(".").join(path);
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
        Ok(openat2(root, path, flags, Mode::empty(), resolve)?)
    }
}
