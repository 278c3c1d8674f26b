//! The paths of a cache, compiled.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cachefs_store::refs::Part;
use cachefs_store::save::Exclude;
use globset::GlobSet;

use super::exclude::{Exclusions, below, compile};
use super::places::Places;
use super::walk;
use crate::error::{Error, Result};

/// The paths of a cache.
#[derive(Debug, Clone)]
pub struct PathSet {
    written: Vec<String>,
    places: Places,
    includes: Vec<Include>,
    exclusions: Exclusions,
}

/// A path that belongs to the cache.
#[derive(Debug, Clone)]
enum Include {
    Plain {
        written: String,
        path: PathBuf,
    },
    Pattern {
        written: String,
        /// The directory below which everything that can match lies.
        root: PathBuf,
        /// Matches absolute paths.
        glob: GlobSet,
    },
}

/// One of the directories of a cache.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// What it is called under the key; `None` when it is all that the key holds.
    pub part: Option<Part>,
}

/// What is there of a cache's paths.
#[derive(Debug, Default)]
pub struct OnDisk {
    /// The directories, none of them in another.
    pub directories: Vec<Directory>,
    /// Paths and patterns, as they were written, that nothing is there for.
    pub absent: Vec<String>,
}

impl PathSet {
    /// Compiles what the user wrote.
    ///
    /// Fails with a usage error on a bad pattern, when nothing but exclusions is there, and on what
    /// means the root or the home directory.
    pub fn new(written: &[impl AsRef<Path>], places: Places) -> Result<Self> {
        let mut excluded = Vec::new();
        let mut includes = Vec::new();
        for path in written {
            let path = path.as_ref();
            match path.to_str() {
                Some(text) => match text.strip_prefix('!') {
                    Some(text) => excluded.push(text),
                    None => includes.push(Include::new(text, &places)?),
                },
                // Nothing in it can be a pattern.
                None => includes.push(Include::Plain {
                    written: path.to_string_lossy().into_owned(),
                    path: places.workspace.join(path),
                }),
            }
        }
        let exclusions = Exclusions::new(&excluded, &places)?;
        if includes.is_empty() {
            return Err(Error::usage(
                "no path is named",
                "name one with --path; those that start with `!` only leave something out",
            ));
        }
        let set = Self {
            written: written
                .iter()
                .map(|path| path.as_ref().to_string_lossy().into_owned())
                .collect(),
            places,
            includes,
            exclusions,
        };
        set.check_parts()?;
        Ok(set)
    }

    /// Paths that become names must mean the same everywhere.
    fn check_parts(&self) -> Result<()> {
        if self.single().is_some() {
            return Ok(());
        }
        for include in &self.includes {
            if let Include::Plain { written, path } = include
                && path.components().any(|name| name.as_os_str() == "..")
            {
                return Err(Error::usage(
                    format!("`{written}` has `..` in it, and names a part of the key"),
                    "write it from the workspace, from `~` or in full",
                ));
            }
        }
        Ok(())
    }

    /// Whether a directory is one of the cache's, by its absolute path.
    pub fn holds(&self, directory: &Path) -> bool {
        self.includes
            .iter()
            .any(|include| include.matches(directory))
    }

    /// The directory of a cache that has one plain path, and so no parts.
    pub fn single(&self) -> Option<Directory> {
        match &self.includes[..] {
            [Include::Plain { path, .. }] => Some(Directory {
                path: path.clone(),
                part: None,
            }),
            _ => None,
        }
    }

    /// The directories that are there now: what a save saves.
    pub fn on_disk(&self) -> Result<OnDisk> {
        if let Some(single) = self.single() {
            return Ok(OnDisk {
                directories: vec![single],
                absent: Vec::new(),
            });
        }
        let mut paths = Vec::new();
        let mut absent = Vec::new();
        for include in &self.includes {
            let before = paths.len();
            match include {
                // What cannot be looked at, a dead mount perhaps, is for the save to report.
                Include::Plain { path, .. } => {
                    let is_absent = std::fs::metadata(path)
                        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
                    if !is_absent {
                        paths.push(path.clone());
                    }
                }
                Include::Pattern { root, glob, .. } => {
                    walk::directories(root, glob, &self.exclusions, &mut paths)?;
                }
            }
            if paths.len() == before {
                absent.push(include.written().to_owned());
            }
        }
        paths.retain(|path| !self.exclusions.covers(path));
        let directories = outermost(paths)
            .into_iter()
            .map(|path| {
                Ok(Directory {
                    part: Some(self.places.part_of(&path)?),
                    path,
                })
            })
            .collect::<Result<_>>()?;
        Ok(OnDisk {
            directories,
            absent,
        })
    }

    /// Whether a part of a key belongs to this cache: what a restore takes, whether or not
    /// anything is there on disk.
    pub fn accepts(&self, part: &Part) -> bool {
        self.places.path_of(part).is_ok_and(|path| {
            self.holds(&path)
                && self.places.refuse_dangerous(part.as_str(), &path).is_ok()
                && !self.exclusions.covers(&path)
        })
    }

    /// The directories that parts belong at, none of them in another.
    pub fn directories(&self, parts: impl IntoIterator<Item = Part>) -> Result<Vec<Directory>> {
        let mut directories = parts
            .into_iter()
            .map(|part| {
                Ok(Directory {
                    path: self.places.path_of(&part)?,
                    part: Some(part),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        directories.sort();
        directories.dedup_by(|later, earlier| later.path.starts_with(&earlier.path));
        Ok(directories)
    }

    /// What a save of one of the directories leaves out.
    pub fn exclude(&self, directory: &Directory) -> Arc<dyn Exclude> {
        self.exclusions.below(&directory.path)
    }

    /// The paths, patterns and exclusions as they were written.
    pub fn written(&self) -> &[String] {
        &self.written
    }

    /// Where relative paths and `~` lead.
    pub fn places(&self) -> &Places {
        &self.places
    }
}

/// Sorts, and leaves out what lies in another: a directory is saved as a whole.
fn outermost(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort();
    paths.dedup_by(|later, earlier| later.starts_with(&*earlier));
    paths
}

impl Include {
    fn new(written: &str, places: &Places) -> Result<Self> {
        if written.is_empty() {
            return Err(Error::usage(
                "a path is empty",
                "name the directory, such as --path ~/.m2",
            ));
        }
        if !written.contains(['*', '?', '[', '{']) {
            let path = places.resolve(written)?;
            places.refuse_dangerous(written, &path)?;
            return Ok(Self::Plain {
                written: written.to_owned(),
                path,
            });
        }
        let (base, rest) = places.split(written)?;
        let names: Vec<_> = rest
            .split('/')
            .filter(|name| !matches!(*name, "" | "."))
            .collect();
        if names.contains(&"..") {
            return Err(Error::usage(
                format!("pattern `{written}` has `..` in it"),
                "write it from the workspace, from `~` or in full",
            ));
        }
        let glob = compile(written, &[below(&base, &names.join("/"))])?;
        let dangerous = [Some(Path::new("/")), places.home.as_deref()];
        for path in dangerous.into_iter().flatten() {
            if glob.is_match(path) {
                places.refuse_dangerous(written, path)?;
            }
        }
        let plain = |name: &&&str| !name.contains(['*', '?', '[', ']', '{', '}', ',', '\\']);
        let root = base
            .components()
            .map(|component| component.as_os_str())
            .chain(names.iter().take_while(plain).map(|name| name.as_ref()))
            .collect();
        Ok(Self::Pattern {
            written: written.to_owned(),
            root,
            glob,
        })
    }

    fn written(&self) -> &str {
        match self {
            Self::Plain { written, .. } | Self::Pattern { written, .. } => written,
        }
    }

    fn matches(&self, path: &Path) -> bool {
        match self {
            Self::Plain { path: own, .. } => own == path,
            Self::Pattern { glob, .. } => glob.is_match(path),
        }
    }
}
