//! Access control for templates: a user's own template can read the whole machine, a tenant's very
//! little.

use std::fs::{self, File, FileType};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::KeyContext;

/// The author of a template.
///
/// Annotations, volume options and pod attributes are expanded by a service that has the host's
/// files and credentials. Their authors must not learn either of these: a key is visible to anyone
/// with access to the remote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Author {
    /// The user who runs the command.
    #[default]
    User,
    /// A tenant: no variables, and only files below the directory that the service's flags allow.
    /// `None` allows no files.
    Tenant {
        /// The directory that the service's flags name.
        allowed: Option<PathBuf>,
    },
}

/// The part of the machine that a template can read.
#[derive(Debug)]
pub(crate) enum Reach {
    /// Everything that this process can read.
    All,
    /// No variables, and only files below this directory, if any.
    Beneath(Option<OwnedFd>),
}

impl Author {
    /// The access of this author's templates, in a workspace.
    ///
    /// # Errors
    ///
    /// When the workspace of a tenant is not below the allowed directory, or is reached through
    /// links.
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
    /// Whether the template is a tenant's.
    pub(super) fn is_limited(&self) -> bool {
        matches!(self, Self::Beneath(_))
    }

    /// Whether the template may read no files.
    pub(super) fn has_no_files(&self) -> bool {
        matches!(self, Self::Beneath(None))
    }
}

/// Access to the workspace by relative paths. For a tenant's template, links and `..` cannot escape
/// the workspace, even if it changes concurrently.
impl KeyContext<'_> {
    /// Opens a regular file. For a tenant, it fails on a pipe instead of waiting for a writer.
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

    /// The type of the file at a path. Does not follow a link in the last component.
    pub(super) fn kind(&self, path: &Path) -> io::Result<FileType> {
        match self.reach {
            Reach::All => Ok(fs::symlink_metadata(self.workspace.join(path))?.file_type()),
            Reach::Beneath(_) => {
                let found = File::from(self.beneath(path, OFlags::PATH | OFlags::NOFOLLOW)?);
                Ok(found.metadata()?.file_type())
            }
        }
    }

    /// Whether a path resolves to a regular file.
    pub(super) fn is_file(&self, path: &Path) -> bool {
        match self.reach {
            Reach::All => self.workspace.join(path).is_file(),
            Reach::Beneath(_) => self.open(path).is_ok(),
        }
    }

    /// The names and types in a directory of `root`, the workspace with links resolved.
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
