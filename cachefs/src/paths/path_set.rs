//! The paths of a cache, compiled.

use std::path::Path;
use std::sync::Arc;

use cachefs_store::refs::CachePart;
use cachefs_store::save::exclude::Exclude;
use serde::{Deserialize, Serialize};

use super::cache_directory::CacheDirectory;
use super::exclude::Exclusions;
use super::glob_walk;
use super::include::Include;
use super::real_path::real_path;
use super::resolve_paths::Places;
use super::sight::Sight;
use crate::error::{Error, Result};

/// The paths of a cache.
#[derive(Debug, Clone)]
pub struct PathSet {
    places: Places,
    includes: Vec<Include>,
    exclusions: Exclusions,
    sight: Sight,
}

/// Which keys of one path a restore takes for a cache whose path looks like a pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whole {
    /// None.
    #[default]
    No,
    /// Any: the path is most likely a name, such as `app/[slug]`.
    Any,
    /// Those that were saved from the directory of that very name, such as `st*r`. Others belong to
    /// another path, from before the pattern was written. `None` is a directory that has no name
    /// which machines share.
    SavedFrom(Option<CachePart>),
}

/// The directories of a cache that exist on disk.
#[derive(Debug, Default)]
pub struct OnDisk {
    /// The directories, none of which contains another.
    pub directories: Vec<CacheDirectory>,
    /// Paths and patterns, as they were written, that nothing is there for.
    pub absent: Vec<String>,
}

impl PathSet {
    /// Compiles the user's paths and patterns. Reads the disk to resolve links, and to recognize
    /// names that look like patterns.
    ///
    /// # Errors
    ///
    /// A usage error for a bad pattern, when all paths are exclusions, and for a path that means the
    /// root or the home directory.
    pub fn new(written: &[impl AsRef<Path>], places: Places) -> Result<Self> {
        Self::read(written, places, Sight::Disk)
    }

    /// Compiles the result of [`PathSet::spellings`] in another process, without reading the disk:
    /// the other process may have another root directory.
    ///
    /// # Errors
    ///
    /// As for [`PathSet::new`].
    pub fn of_names(spellings: &[String], places: Places) -> Result<Self> {
        Self::read(spellings, places, Sight::Names)
    }

    fn read(written: &[impl AsRef<Path>], places: Places, sight: Sight) -> Result<Self> {
        // A directory that is called `!x` can be named alone: there is nothing to exclude it from.
        let are_exclusions = |path: &Path| path.to_str().is_some_and(|path| path.starts_with('!'));
        let has_include = written.iter().any(|path| !are_exclusions(path.as_ref()));
        let is_name = |text: &str| {
            !has_include && (written.len() == 1 || sight.is_dir(&places.workspace.join(text)))
        };
        let mut excluded = Vec::new();
        let mut includes = Vec::new();
        for path in written {
            let path = path.as_ref();
            match path.to_str() {
                Some(text) => match text.strip_prefix('!').filter(|_| !is_name(text)) {
                    Some(text) => excluded.push(text),
                    None => includes.push(Include::new(text, &places, sight)?),
                },
                // Not UTF-8, so it cannot be a pattern.
                None => {
                    let shown = path.to_string_lossy();
                    let path = match path.is_absolute() {
                        true => path.to_owned(),
                        false => places.start(&shown)?.join(path),
                    };
                    includes.push(Include::name(&shown, path, sight));
                }
            }
        }
        let exclusions = Exclusions::new(&excluded, &places, sight)?;
        if includes.is_empty() {
            return Err(Error::usage(
                "no path given",
                "name one with --path; those that start with `!` only leave something out, and a \
                 directory of such a name is `./!name`",
            ));
        }
        let mut set = Self {
            places,
            includes,
            exclusions,
            sight,
        };
        set.check_parts()?;
        Ok(set)
    }

    /// Names of parts must mean the same on every machine: `web/../x` becomes `x`, and `../x` is
    /// refused.
    fn check_parts(&mut self) -> Result<()> {
        if self.single().is_some() {
            return Ok(());
        }
        for include in &mut self.includes {
            let has_parent = |path: &Path| path.components().any(|name| name.as_os_str() == "..");
            if include.pattern.is_some() || !has_parent(&include.path) {
                continue;
            }
            include.path = self.places.below_own(&include.real).ok_or_else(|| {
                Error::usage(
                    format!(
                        "`{}` contains `..`, and paths are part of the key",
                        include.written
                    ),
                    "use a path relative to the workspace or `~`, or an absolute path",
                )
            })?;
        }
        Ok(())
    }

    /// Whether a directory is one of the cache's, by its absolute path.
    ///
    /// The path of a directory that was reached through links must be its [`real_path`].
    pub fn holds(&self, directory: &Path) -> bool {
        self.includes
            .iter()
            .any(|include| include.matches(directory))
    }

    /// The directories that are named rather than matched, without links.
    pub fn names(&self) -> impl Iterator<Item = &Path> {
        let names = self.includes.iter().filter(|it| it.pattern.is_none());
        names.map(|include| &*include.real)
    }

    /// The directory of a cache that has one plain path, and so no parts.
    pub fn single(&self) -> Option<CacheDirectory> {
        match &self.includes[..] {
            [include] if include.pattern.is_none() => Some(include.whole()),
            _ => None,
        }
    }

    /// The directory of that very name, of a cache whose one path is read as a pattern here and now.
    fn literal(&self) -> Option<CacheDirectory> {
        match &self.includes[..] {
            [include] if include.pattern.is_some() => Some(include.whole()),
            _ => None,
        }
    }

    /// Which keys of one path a restore takes: the directory may not exist yet, but have existed where
    /// it was saved.
    pub fn whole(&self) -> Whole {
        let Some(CacheDirectory { path, .. }) = self.literal() else {
            return Whole::No;
        };
        let pattern = self.includes[0].pattern.as_ref();
        if pattern.is_some_and(|pattern| pattern.may_be_name) {
            return Whole::Any;
        }
        let place = self.places.part_of(&path).ok();
        Whole::SavedFrom(place.filter(|place| !place.as_str().starts_with('/')))
    }

    /// The directories that exist now, for a save.
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
            match &include.pattern {
                // A path that cannot be looked at, such as a dead mount, is for the save to report.
                None => {
                    let is_absent = std::fs::metadata(&include.path)
                        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
                    if !is_absent {
                        paths.push(include.path.clone());
                    }
                }
                Some(pattern) => {
                    glob_walk::find_directories(
                        &pattern.root,
                        &pattern.glob,
                        &self.exclusions,
                        &mut paths,
                    )?;
                }
            }
            if paths.len() == before {
                absent.push(include.written.clone());
            }
        }
        paths.retain(|path| !self.is_excluded(path));
        let directories = paths
            .into_iter()
            .map(|path| {
                Ok(CacheDirectory {
                    part: Some(self.places.part_of(&path)?),
                    path,
                })
            })
            .collect::<Result<_>>()?;
        let directories = retain_outermost(directories);
        Ok(OnDisk {
            directories,
            absent,
        })
    }

    fn is_excluded(&self, path: &Path) -> bool {
        self.exclusions.covers(path) || self.exclusions.covers(&real_path(path))
    }

    /// Whether a part of a key belongs to this cache, for a restore; the disk does not matter.
    pub fn accepts(&self, part: &CachePart) -> bool {
        self.places.path_of(part).is_ok_and(|path| {
            (self.holds(&path) || self.sight == Sight::Disk && self.holds(&real_path(&path)))
                && self
                    .places
                    .refuse_dangerous(part.as_str(), &path, self.sight)
                    .is_ok()
                && !self.exclusions.covers(&path)
        })
    }

    /// The directories for the given parts, none of which contains another. `None` stands for a key
    /// without parts, which belongs at the literal path that the user wrote.
    ///
    /// # Errors
    ///
    /// When a part begins at the home directory and there is none.
    pub fn directories(
        &self,
        parts: impl IntoIterator<Item = Option<CachePart>>,
    ) -> Result<Vec<CacheDirectory>> {
        let mut directories = Vec::new();
        for part in parts {
            match part {
                None => directories.extend(self.literal()),
                Some(part) => directories.push(CacheDirectory {
                    path: self.places.path_of(&part)?,
                    part: Some(part),
                }),
            }
        }
        Ok(retain_outermost(directories))
    }

    /// The exclusions of a save of one of the directories.
    pub fn exclude(&self, directory: &CacheDirectory) -> Arc<dyn Exclude> {
        self.exclusions
            .below(&directory.path, self.sight.real(&directory.path))
    }

    /// The paths and patterns by every name that stored parts may have, and the exclusions as they
    /// were written: for [`PathSet::of_names`].
    pub fn spellings(&self) -> Vec<String> {
        let includes = self.includes.iter().flat_map(|include| &include.globs);
        let exclusions = self.exclusions.written().map(|text| format!("!{text}"));
        includes.cloned().chain(exclusions).collect()
    }

    /// Where relative paths and `~` lead.
    pub fn places(&self) -> &Places {
        &self.places
    }
}

/// Sorts the directories, and drops those inside another one: a directory is saved as a whole.
fn retain_outermost(directories: Vec<CacheDirectory>) -> Vec<CacheDirectory> {
    let mut directories: Vec<_> = directories
        .into_iter()
        .map(|directory| (real_path(&directory.path), directory))
        .collect();
    // Of two spellings, the one without links.
    directories.sort_by_cached_key(|(real, directory)| {
        (real.clone(), directory.path != *real, directory.clone())
    });
    directories.dedup_by(|(later, _), (earlier, _)| later.starts_with(&*earlier));
    let mut directories: Vec<_> = directories
        .into_iter()
        .map(|(_, directory)| directory)
        .collect();
    directories.sort();
    directories
}
