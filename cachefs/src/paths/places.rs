//! From paths as they are written to places on this machine, and to names that machines share.

use std::path::{Component, Path, PathBuf};

use cachefs_store::refs::Part;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where relative paths and `~` lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// The directory that relative paths start from; absolute.
    pub workspace: PathBuf,
    /// The home directory, if there is one; absolute.
    pub home: Option<PathBuf>,
}

impl Places {
    /// The current directory and the user's home.
    pub fn current() -> Result<Self> {
        Ok(Self {
            workspace: std::env::current_dir().map_err(Error::io("find", "."))?,
            home: std::env::home_dir().filter(|home| home.is_absolute()),
        })
    }

    /// The directory that a path starts from, and the rest of it: nothing is resolved.
    pub(super) fn split<'a>(&self, written: &'a str) -> Result<(PathBuf, &'a str)> {
        if let Some(rest) = written.strip_prefix('~')
            && (rest.is_empty() || rest.starts_with('/'))
        {
            let home = self.home.clone().ok_or_else(|| {
                Error::usage(
                    format!("`{written}` starts at the home directory, and there is none"),
                    "set HOME, or write the path in full",
                )
            })?;
            return Ok((home, rest.trim_start_matches('/')));
        }
        match written.strip_prefix('/') {
            Some(rest) => Ok((PathBuf::from("/"), rest.trim_start_matches('/'))),
            None => Ok((self.workspace.clone(), written)),
        }
    }

    /// The absolute path that a plain path means. `..` is left as it is: what it means depends on
    /// links.
    pub(super) fn resolve(&self, written: &str) -> Result<PathBuf> {
        let (base, rest) = self.split(written)?;
        let names = Path::new(rest)
            .components()
            .filter(|component| *component != Component::CurDir);
        Ok(base.components().chain(names).collect())
    }

    /// The part that a directory is saved as; it must not depend on this machine.
    pub fn part_of(&self, path: &Path) -> Result<Part> {
        let text = |path: &Path| {
            path.to_str().map(str::to_owned).ok_or_else(|| {
                Error::usage(
                    format!("{} is not UTF-8", path.display()),
                    "save it as the only path of a key of its own",
                )
            })
        };
        let in_workspace = path.strip_prefix(&self.workspace).ok();
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
        Ok(Part::new(name)?)
    }

    /// The directory that a part belongs at, on this machine.
    pub fn path_of(&self, part: &Part) -> Result<PathBuf> {
        self.resolve(part.as_str())
    }

    /// Refuses what no cache may be: the root directory and the home directory.
    pub(super) fn refuse_dangerous(&self, written: &str, path: &Path) -> Result<()> {
        let what = if path == Path::new("/") {
            "the root directory"
        } else if self.home.as_deref() == Some(path) {
            "the home directory"
        } else {
            return Ok(());
        };
        Err(Error::usage(
            format!("`{written}` means {what} itself, which cannot be a cache"),
            "name the directories in it that the build fills, such as ~/.m2",
        ))
    }
}
