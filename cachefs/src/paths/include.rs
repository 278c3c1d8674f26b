//! A path or a pattern that belongs to a cache.

use std::path::{Path, PathBuf};

use cachefs_store::path_globs::compile_globs;
use globset::GlobSet;

use super::cache_directory::CacheDirectory;
use super::glob_escape::{glob_of, has_special, literal_names, literal_readings, may_be_names};
use super::pattern::{compile_path_pattern, escape_base};
use super::resolve_paths::Places;
use super::sight::Sight;
use crate::error::{Error, Result};
use cachefs_store::Hint;

/// A path or a pattern, compiled.
#[derive(Debug, Clone)]
pub(super) struct Include {
    pub(super) written: String,
    /// The directory of that very name; absolute, with `..` as it was written.
    pub(super) path: PathBuf,
    /// The same without links and `..`.
    pub(super) real: PathBuf,
    /// The path as a pattern; `None` for a name.
    pub(super) pattern: Option<IncludePattern>,
    /// Globs of absolute paths: every way to read and to spell it.
    pub(super) globs: Vec<String>,
    readings: GlobSet,
}

/// A path that is read as a pattern here and now.
#[derive(Debug, Clone)]
pub(super) struct IncludePattern {
    /// The directory below which everything that can match lies.
    pub(super) root: PathBuf,
    /// Matches absolute paths.
    pub(super) glob: GlobSet,
    /// Whether it may be the name of a directory that does not exist yet.
    pub(super) may_be_name: bool,
}

impl Include {
    pub(super) fn new(written: &str, places: &Places, sight: Sight) -> Result<Self> {
        if written.is_empty() {
            return Err(Error::usage("a path is empty", Hint::NameDirectory));
        }
        if !has_special(written) {
            let include = Self::name(written, places.resolve(written)?, sight);
            for path in [&include.path, &include.real] {
                places.refuse_dangerous(written, path, sight)?;
            }
            return Ok(include);
        }
        let (base, rest) = places.split(written)?;
        let names: Vec<_> = rest
            .split('/')
            .filter(|name| !matches!(*name, "" | "."))
            .collect();
        let literal = literal_names(&base, &names, |path| sight.is_dir(path));
        let mut globs = absolute_globs(&base, &names);
        let is_name = !names[literal..].iter().any(|name| has_special(name));
        // `a/[b` is not a valid pattern, so it can only be a name.
        let is_unclosed = || {
            let glob = glob_of(&names, literal);
            !glob.contains(['*', '?']) && compile_valid(&[glob]).is_empty()
        };
        if is_name || is_unclosed() {
            let path = base.components().collect::<PathBuf>();
            let path = names.iter().fold(path, |path, name| path.join(name));
            // A restore before the directory existed has read it as a pattern.
            return Ok(Self {
                readings: compile_valid(&globs),
                globs,
                ..Self::name(written, path, sight)
            });
        }
        if names.contains(&"..") {
            return Err(Error::usage(
                format!("pattern `{written}` contains `..`"),
                "use a path relative to the workspace or `~`, or an absolute path",
            ));
        }
        let glob = compile_path_pattern(written, &[escape_base(&base, &glob_of(&names, literal))])?;
        // The plain names before the pattern may lead through links.
        let plain = |name: &&&str| !name.contains(['*', '?', '[', ']', '{', '}', ',', '\\']);
        let leading = names.iter().take_while(plain).count();
        let path = |count: usize| -> PathBuf {
            let base = base.components().map(|component| component.as_os_str());
            base.chain(names[..count].iter().map(|name| name.as_ref()))
                .collect()
        };
        let real = sight.real(&path(leading));
        if real != path(leading) {
            globs.extend(self::absolute_globs(&real, &names[leading..]));
        }
        let readings = compile_valid(&globs);
        for path in places.dangerous(sight) {
            if readings.is_match(&path) {
                places.refuse_dangerous(written, &path, sight)?;
            }
        }
        let literal = literal + names[literal..].iter().take_while(plain).count();
        Ok(Self {
            written: written.to_owned(),
            real: sight.real(&path(names.len())),
            path: path(names.len()),
            pattern: Some(IncludePattern {
                root: path(literal),
                glob,
                may_be_name: may_be_names(&names),
            }),
            readings,
            globs,
        })
    }

    /// A plain name, by its absolute path.
    pub(super) fn name(written: &str, path: PathBuf, sight: Sight) -> Self {
        let real = sight.real(&path);
        let mut globs: Vec<_> = [&path, &real]
            .into_iter()
            .filter_map(|path| path.to_str().map(globset::escape))
            .collect();
        globs.dedup();
        Self {
            written: written.to_owned(),
            path,
            real,
            pattern: None,
            globs,
            readings: GlobSet::empty(),
        }
    }

    /// The directory when it is all that a key holds.
    pub(super) fn whole(&self) -> CacheDirectory {
        CacheDirectory {
            path: self.path.clone(),
            part: None,
        }
    }

    pub(super) fn matches(&self, path: &Path) -> bool {
        self.path == path || self.real == path || self.readings.is_match(path)
    }
}

/// The globs of absolute paths by which names below a directory can be read.
fn absolute_globs(base: &Path, names: &[&str]) -> Vec<String> {
    literal_readings(names)
        .iter()
        .map(|reading| escape_base(base, reading))
        .collect()
}

/// Compiles the valid globs. One of the two readings of `a/[b`, for example, is not a valid
/// pattern.
fn compile_valid(globs: &[String]) -> GlobSet {
    let valid: Vec<_> = globs
        .iter()
        .filter(|glob| compile_globs([glob]).is_ok())
        .cloned()
        .collect();
    // Each glob compiles by itself; only the set can be too large.
    compile_path_pattern("", &valid).unwrap_or_else(|_| GlobSet::empty())
}
