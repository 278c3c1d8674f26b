//! Finds the configuration files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use cachefs::paths::working_directory;

/// Name of a project's file.
pub(super) const PROJECT_FILE: &str = "cachefs.toml";
/// The system's file.
const SYSTEM_FILE: &str = "/etc/cachefs/config.toml";

/// Level of a file; later levels take precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConfigLevel {
    /// The system's file.
    System,
    /// The user's file.
    User,
    /// The project's file, which a pull request can change.
    Project,
}

/// A file that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Looked {
    /// Level of the file.
    pub(crate) level: ConfigLevel,
    /// The path, whether or not the file exists.
    pub(crate) path: PathBuf,
    /// Whether the file exists.
    pub(crate) found: bool,
}

/// The directories and files to search.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// The current directory; empty if it has been deleted.
    pub(super) current: PathBuf,
    /// The home directory.
    pub(super) home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`.
    pub(super) config_home: Option<PathBuf>,
    /// The system's file.
    pub(super) system: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub(super) fn here() -> std::io::Result<Self> {
        Ok(Self {
            current: working_directory()?,
            home: std::env::home_dir().filter(|home| home.is_absolute()),
            config_home: std::env::var_os("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute()),
            system: SYSTEM_FILE.into(),
        })
    }

    /// The files, in increasing order of precedence.
    ///
    /// `named` replaces the project's file, and counts as found even if it does not exist, so that
    /// reading it reports the error.
    pub(super) fn files(&self, named: Option<&Path>) -> Vec<Looked> {
        let user = self
            .config_home
            .clone()
            .or_else(|| self.home.as_ref().map(|home| home.join(".config")))
            .map(|config| config.join("cachefs/config.toml"));
        let look = |level, path: PathBuf| Looked {
            level,
            found: path.exists(),
            path,
        };
        let mut files = vec![look(ConfigLevel::System, self.system.clone())];
        files.extend(user.map(|path| look(ConfigLevel::User, path)));
        match named {
            Some(path) => files.push(Looked {
                level: ConfigLevel::Project,
                path: self.current.join(path),
                found: true,
            }),
            None => files.extend(self.project().map(|path| look(ConfigLevel::Project, path))),
        }
        files
    }

    /// The nearest project's file, from the current directory upwards.
    ///
    /// The search ends at the top of a repository, at the home directory, and at world-writable
    /// directories: a file in `/tmp` must not affect builds below it.
    fn project(&self) -> Option<PathBuf> {
        for directory in self.current.ancestors() {
            let is_outside = directory != self.current
                && (self.home.as_deref() == Some(directory)
                    || directory.parent().is_none()
                    || is_open_to_all(directory));
            if is_outside {
                return None;
            }
            let file = directory.join(PROJECT_FILE);
            if file.exists() {
                return Some(file);
            }
            if directory.join(".git").exists() {
                return None;
            }
        }
        None
    }
}

fn is_open_to_all(directory: &Path) -> bool {
    directory
        .metadata()
        .is_ok_and(|metadata| metadata.permissions().mode() & 0o002 != 0)
}
