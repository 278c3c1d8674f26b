//! From the options of a volume, or the annotations of a container, to a cache.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::args::Global;
use crate::caches::Cache;
use crate::config::{Described, Vocabulary};
use crate::outputs::OutputArgs;

/// The option that says where files in key templates are.
const WORKSPACE: &str = "workspace";

/// What all caches of this process have in common.
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    /// The options that there are.
    pub(crate) vocabulary: Vocabulary,
}

/// What a cache is described for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A volume: the engine says where it belongs.
    Volume,
    /// A container that was annotated: `path` says where in it the cache belongs.
    Container,
}

/// A cache, with the options of every command as they are for it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Its remote, scope and the like.
    pub(crate) global: Global,
    /// The cache; its only path is where it is shown on the host.
    pub(crate) cache: Cache,
    /// Where it belongs in the container; of a [`Purpose::Container`] only.
    pub(crate) inside: Option<PathBuf>,
}

impl Defaults {
    /// Reads the options of the cache `name`, which is to be shown at `shown` on the host.
    ///
    /// # Errors
    ///
    /// Usage errors: an unknown option, a wrong value, no key, a path where none belongs or the
    /// other way round, a key that needs files and no workspace to look for them.
    pub(crate) fn read(
        &self,
        purpose: Purpose,
        name: &str,
        options: &BTreeMap<String, String>,
        shown: &Path,
    ) -> anyhow::Result<Request> {
        let Described {
            mut global,
            key,
            restore_keys,
            paths,
            common,
            restore,
            save,
        } = self.vocabulary.describe(options, &[WORKSPACE])?;
        // What is told to CI systems is about their own steps.
        global.outputs = OutputArgs::default();
        let inside = inside(purpose, &paths)?;
        if key.is_none() {
            return Err(cachefs::Error::usage(
                "there is no option `key`",
                "it names the cache, such as key=m2-main",
            )
            .into());
        }
        let workspace = options.get(WORKSPACE).map(PathBuf::from);
        if workspace
            .as_ref()
            .is_some_and(|workspace| !workspace.is_absolute())
        {
            return Err(cachefs::Error::usage(
                "`workspace` is not the whole path of a directory",
                "write it as it is on the host, such as workspace=/srv/build",
            )
            .into());
        }
        let has_workspace = workspace.is_some();
        let cache = Cache {
            name: Some(name.to_owned()),
            workspace: workspace.unwrap_or_else(|| shown.to_owned()),
            key,
            restore_keys,
            paths: vec![shown.to_owned()],
            layers: Vec::new(),
            only: None,
            common,
            restore,
            save,
        };
        // Files may come later; everything else is as right or wrong as it will ever be.
        if !has_workspace {
            cache.expand().map_err(|error| without_workspace(&error))?;
        }
        cache.save.existing()?;
        Ok(Request {
            global,
            cache,
            inside,
        })
    }
}

impl Request {
    /// A cache that a file describes, to be shown at `shown` on the host; its own path is the one in
    /// the container.
    ///
    /// # Errors
    ///
    /// Those of [`only_path`].
    pub(crate) fn of(global: &Global, cache: &Cache, shown: &Path) -> Result<Self, cachefs::Error> {
        let inside = only_path(cache)?;
        let mut global = global.clone();
        global.outputs = OutputArgs::default();
        let cache = Cache {
            paths: vec![shown.to_owned()],
            ..cache.clone()
        };
        Ok(Self {
            global,
            cache,
            inside: Some(inside),
        })
    }
}

/// The one path of a cache of a file, as a container has it.
///
/// # Errors
///
/// A usage error for several paths, patterns and exclusions.
pub(crate) fn only_path(cache: &Cache) -> Result<PathBuf, cachefs::Error> {
    match &cache.paths[..] {
        [path] if path.is_absolute() && !path.to_string_lossy().contains(['*', '?', '[', '{']) => {
            Ok(path.clone())
        }
        _ => {
            let name = cache.name.as_deref().unwrap_or_default();
            Err(cachefs::Error::usage(
                format!("the cache `{name}` has not one plain path"),
                "a cache of a container has one path and no patterns, such as path = \"/root/.m2\"",
            ))
        }
    }
}

fn inside(purpose: Purpose, paths: &[String]) -> Result<Option<PathBuf>, cachefs::Error> {
    match (purpose, paths) {
        (Purpose::Volume, []) => Ok(None),
        (Purpose::Volume, _) => Err(cachefs::Error::usage(
            "a volume has no `path`",
            "where it is mounted is said with the container, such as dst=/root/.m2",
        )),
        (Purpose::Container, [path]) if Path::new(path).is_absolute() => Ok(Some(path.into())),
        (Purpose::Container, [path]) => Err(cachefs::Error::usage(
            format!("`{path}` is not a whole path"),
            "write it as it is in the container, such as /root/.m2",
        )),
        (Purpose::Container, []) => Err(cachefs::Error::usage(
            "there is no option `path`",
            "it says where in the container the cache belongs, such as /root/.m2",
        )),
        (Purpose::Container, _) => Err(cachefs::Error::usage(
            "there are several paths",
            "describe a cache for each of them",
        )),
    }
}

/// A key that cannot be expanded, told to someone who may expect the container's files to count.
fn without_workspace(error: &anyhow::Error) -> anyhow::Error {
    let failure = crate::failure::failure(error, false);
    let hint = failure.hint.unwrap_or_default();
    cachefs::Error::usage(
        format!("the key cannot be expanded: {}", failure.message),
        format!(
            "keys are expanded on the host, where the files of the container are not: name their directory on the host with workspace=/DIR, or expand the key before; {hint}"
        ),
    )
    .into()
}
