//! Exclusions: patterns of entries that a save skips.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cachefs_store::save::exclude::Exclude;
use globset::GlobSet;

use super::glob_escape::has_special;
use super::pattern::{compile_path_pattern, escape_base};
use super::resolve_paths::Places;
use super::sight::Sight;
use crate::error::{Error, Result};

/// One exclusion.
#[derive(Debug)]
struct Exclusion {
    /// Without its `!`.
    written: String,
    /// Matches absolute paths.
    absolute: GlobSet,
    /// Matches paths relative to a cached directory.
    relative: GlobSet,
    /// It was written with a `/` at its end.
    only_directories: bool,
}

/// All exclusions of a cache.
#[derive(Debug, Clone, Default)]
pub(super) struct Exclusions(Arc<Vec<Exclusion>>);

/// The exclusions, as the save of one directory sees them.
#[derive(Debug)]
struct ExclusionsBelow {
    root: PathBuf,
    /// The root without links.
    real: PathBuf,
    exclusions: Exclusions,
}

impl Exclusions {
    /// Compiles exclusions, which are written here without their `!`.
    pub(super) fn new(written: &[&str], places: &Places, sight: Sight) -> Result<Self> {
        let exclusions = written
            .iter()
            .map(|written| Exclusion::new(written, places, sight))
            .collect::<Result<_>>()?;
        Ok(Self(Arc::new(exclusions)))
    }

    /// Whether a cached directory itself is excluded, because it or one of its parents matches.
    pub(super) fn covers(&self, directory: &Path) -> bool {
        directory.ancestors().any(|ancestor| {
            self.0
                .iter()
                .any(|exclusion| exclusion.absolute.is_match(ancestor))
        })
    }

    /// The exclusions as they were written, without their `!`.
    pub(super) fn written(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|exclusion| &*exclusion.written)
    }

    /// The exclusions for the save of one directory; `real` is its path without links.
    pub(super) fn below(&self, root: &Path, real: PathBuf) -> Arc<dyn Exclude> {
        Arc::new(ExclusionsBelow {
            root: root.to_owned(),
            real,
            exclusions: self.clone(),
        })
    }
}

impl Exclusion {
    fn new(written: &str, places: &Places, sight: Sight) -> Result<Self> {
        let only_directories = written.ends_with('/');
        let (base, rest) = places.split(written.trim_end_matches('/'))?;
        let rest = rest.trim_start_matches("./");
        if rest.is_empty() || rest.split('/').any(|name| name == "..") {
            return Err(Error::usage(
                format!("invalid exclusion `!{written}`: it is empty or contains `..`"),
                "use a pattern such as `!**/*.log`",
            ));
        }
        let from_workspace = !written.starts_with(['/', '~']);
        // As in .gitignore: a name alone counts at any depth.
        let rest = if from_workspace && !rest.contains('/') {
            format!("**/{rest}")
        } else {
            rest.to_owned()
        };
        // A file that is excluded by mistake is fetched again; one that is saved by mistake is
        // public. So both the pattern and the literal name count, whichever of them exists.
        let readings = [rest.clone(), with_literal_brackets(&rest)];
        let names: Vec<_> = rest.split('/').collect();
        let plain = names.iter().take_while(|name| !has_special(name)).count();
        let leading: PathBuf = base.join(names[..plain].join("/"));
        let real = sight.real(&leading);
        let mut absolute: Vec<_> = readings
            .iter()
            .map(|rest| escape_base(&base, rest))
            .collect();
        if real != leading {
            let rest = names[plain..].join("/");
            let readings = [rest.clone(), with_literal_brackets(&rest)];
            absolute.extend(readings.iter().map(|rest| match rest.is_empty() {
                true => globset::escape(&real.to_string_lossy()),
                false => escape_base(&real, rest),
            }));
        }
        let relative = match from_workspace {
            true => readings.to_vec(),
            false => Vec::new(),
        };
        Ok(Self {
            written: written.to_owned(),
            absolute: compile_path_pattern(written, &absolute)?,
            relative: compile_path_pattern(written, &relative)?,
            only_directories,
        })
    }
}

/// The pattern in which names with brackets or braces stand for themselves. Other patterns match
/// their own text anyway.
fn with_literal_brackets(pattern: &str) -> String {
    let names: Vec<_> = pattern
        .split('/')
        .map(|name| match name.contains(['[', '{']) {
            true => globset::escape(name),
            false => name.to_owned(),
        })
        .collect();
    names.join("/")
}

impl Exclude for ExclusionsBelow {
    fn excludes(&self, path: &Path, directory: bool) -> bool {
        let (absolute, real) = (self.root.join(path), self.real.join(path));
        self.exclusions.0.iter().any(|exclusion| {
            (directory || !exclusion.only_directories)
                && (exclusion.relative.is_match(path)
                    || exclusion.absolute.is_match(&absolute)
                    || exclusion.absolute.is_match(&real))
        })
    }

    fn is_empty(&self) -> bool {
        self.exclusions.0.is_empty()
    }
}
