//! From paths as they are written to places on this machine, and to names that machines share.

use std::path::{Component, Path, PathBuf};

use cachefs_store::refs::CachePart;
use serde::{Deserialize, Serialize};

use super::real_path::real_path;
use super::sight::Sight;
use crate::error::{Error, Result};

/// Where relative paths and `~` lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// The directory that relative paths start from; absolute, or empty when it has been deleted.
    pub workspace: PathBuf,
    /// The home directory, if there is one; absolute.
    pub home: Option<PathBuf>,
}

impl Places {
    /// The current directory and the user's home.
    pub fn current() -> Result<Self> {
        Ok(Self {
            workspace: working_directory().map_err(Error::io("find", "."))?,
            home: std::env::home_dir().filter(|home| home.is_absolute()),
        })
    }

    /// Splits a path into the directory that it starts from and the rest. Resolves no links.
    pub(super) fn split<'a>(&self, written: &'a str) -> Result<(PathBuf, &'a str)> {
        if let Some(rest) = written.strip_prefix('~')
            && (rest.is_empty() || rest.starts_with('/'))
        {
            let home = self.home.clone().ok_or_else(|| {
                Error::usage(
                    format!("`{written}` needs a home directory, but there is none"),
                    "set HOME, or use an absolute path",
                )
            })?;
            return Ok((home, rest.trim_start_matches('/')));
        }
        match written.strip_prefix('/') {
            Some(rest) => Ok((PathBuf::from("/"), rest.trim_start_matches('/'))),
            None => Ok((self.start(written)?, written)),
        }
    }

    /// The directory that a relative path starts from.
    pub(super) fn start(&self, written: &str) -> Result<PathBuf> {
        if self.workspace.as_os_str().is_empty() {
            return Err(Error::usage(
                format!("`{written}` is relative to a working directory that has been deleted"),
                "`cd` to a directory that exists, or use an absolute path",
            ));
        }
        Ok(self.workspace.clone())
    }

    /// The absolute path that a plain path means. `..` stays, because its target depends on links.
    ///
    /// # Errors
    ///
    /// A usage error if the path starts at a directory that does not exist, such as `~` without a
    /// home directory.
    pub fn resolve(&self, written: &str) -> Result<PathBuf> {
        let (base, rest) = self.split(written)?;
        let names = Path::new(rest)
            .components()
            .filter(|component| *component != Component::CurDir);
        Ok(base.components().chain(names).collect())
    }

    /// The part that a directory is saved as; it must not depend on this machine.
    pub fn part_of(&self, path: &Path) -> Result<CachePart> {
        let text = |path: &Path| {
            path.to_str().map(str::to_owned).ok_or_else(|| {
                Error::usage(
                    format!("{} is not UTF-8", path.display()),
                    "save it alone, under its own key",
                )
            })
        };
        let is_inside = |place: &Path| !place.as_os_str().is_empty() && path.starts_with(place);
        if !is_inside(&self.workspace)
            && !self.home.as_deref().is_some_and(is_inside)
            && let Some(own) = self.below_own(&real_path(path))
        {
            // It was reached through a link, such as the workspace's name on another mount.
            return self.part_of(&own);
        }
        let in_workspace = path
            .strip_prefix(&self.workspace)
            .ok()
            .filter(|_| is_inside(&self.workspace));
        let in_home = self
            .home
            .as_ref()
            .and_then(|home| path.strip_prefix(home).ok());
        // The nearer of the two says more: a workspace may lie in a home directory, and a home
        // directory in a workspace.
        let nearer_home = match (in_workspace, in_home) {
            (Some(workspace), Some(home)) => {
                home.components().count() < workspace.components().count()
            }
            (None, Some(_)) => true,
            _ => false,
        };
        let name = match (nearer_home, in_workspace, in_home) {
            (true, _, Some(rest)) if rest.as_os_str().is_empty() => "~".to_owned(),
            (true, _, Some(rest)) => format!("~/{}", text(rest)?),
            (_, Some(rest), _) if rest.as_os_str().is_empty() => ".".to_owned(),
            (_, Some(rest), _) => text(rest)?,
            _ => text(path)?,
        };
        Ok(CachePart::new(name)?)
    }

    /// The path relative to the workspace or home directory, if the real path of the directory is
    /// inside one of them.
    pub(super) fn below_own(&self, real: &Path) -> Option<PathBuf> {
        let owns = [Some(&self.workspace), self.home.as_ref()];
        owns.into_iter()
            .flatten()
            .filter(|own| !own.as_os_str().is_empty())
            .find_map(|own| Some(own.join(real.strip_prefix(real_path(own)).ok()?)))
    }

    /// The directory that a part belongs at, on this machine.
    pub fn path_of(&self, part: &CachePart) -> Result<PathBuf> {
        self.resolve(part.as_str())
    }

    /// The root directory, and the home directory by both of its names.
    pub(super) fn dangerous(&self, sight: Sight) -> impl Iterator<Item = PathBuf> {
        let homes = self.home.iter();
        let homes = homes.flat_map(move |home| [home.clone(), sight.real(home)]);
        std::iter::once(PathBuf::from("/")).chain(homes)
    }

    /// Refuses the root directory and the home directory, which must never be a cache.
    pub(super) fn refuse_dangerous(&self, written: &str, path: &Path, sight: Sight) -> Result<()> {
        let what = if path == Path::new("/") {
            "the root directory"
        } else if self.dangerous(sight).any(|home| home == path) {
            "the home directory"
        } else {
            return refuse_kernel(written, path, sight);
        };
        Err(Error::usage(
            format!("`{written}` is {what} itself, which cannot be cached"),
            "use the directories in it that the build fills, such as ~/.m2",
        ))
    }
}

/// Refuses the directories of the kernel and of devices, such as `/proc` and `/dev`: a mount there
/// would hide files that every program needs.
fn refuse_kernel(written: &str, path: &Path, sight: Sight) -> Result<()> {
    let real = sight.real(path);
    let place = ["/proc", "/sys", "/dev/pts", "/dev/mqueue", "/dev/hugepages"]
        .into_iter()
        .find(|place| real.starts_with(place))
        .or((real == Path::new("/dev")).then_some("/dev"));
    place.map_or(Ok(()), |place| {
        Err(Error::usage(
            format!("`{written}` is in {place}, a virtual filesystem"),
            "use a directory that the build fills, such as target or ~/.m2",
        ))
    })
}

/// The working directory; empty when it has been deleted, which matters only to relative paths.
///
/// # Errors
///
/// When it cannot be determined, such as below a directory that this user may not search.
pub fn working_directory() -> std::io::Result<PathBuf> {
    match std::env::current_dir() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(PathBuf::new()),
        other => other,
    }
}
