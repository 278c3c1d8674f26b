//! One cache: its keys, its paths, and how it is restored and saved.

use std::path::PathBuf;

use cachefs_store::refs::{Key, Scope, Wanted};

use super::options::{RestoreHow, SaveHow};
use crate::{keys, setup};

/// One cache, resolved from flags or a file.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    /// Its name in the file, which all its output carries; `None` when flags describe it.
    pub(crate) name: Option<String>,
    /// The directory that files and patterns in key templates start from; absolute.
    pub(crate) workspace: PathBuf,
    /// The template of the key: what `save` saves under and `restore` puts on top of the stack.
    /// `None` restores the layers alone.
    pub(crate) key: Option<String>,
    /// Templates of prefixes that will do when there is no such key, best first.
    pub(crate) restore_keys: Vec<String>,
    /// Where it belongs.
    pub(crate) paths: Vec<PathBuf>,
    /// The caches that are stacked below the key's, the bottom one first.
    pub(crate) layers: Vec<Layer>,
    /// How to restore it.
    pub(crate) restore: RestoreHow,
    /// How to save it.
    pub(crate) save: SaveHow,
}

/// A cache that lies below others in a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    /// What people call it, such as `base`.
    pub(crate) name: String,
    /// The template of its key.
    pub(crate) key: String,
    /// Templates of prefixes that will do, best first.
    pub(crate) restore_keys: Vec<String>,
}

/// The expanded templates of a cache.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// The key with its parts; `None` when the cache is layers alone.
    pub(crate) main: Option<(Key, keys::Expanded)>,
    /// The expanded prefixes, best first.
    pub(crate) prefixes: Vec<String>,
    /// The key of each layer with its parts and its prefixes, in the order of [`Cache::layers`].
    pub(crate) layers: Vec<(Key, keys::Expanded, Vec<String>)>,
}

impl Cache {
    /// Expands the templates.
    ///
    /// # Errors
    ///
    /// [`keys::KeyError`] for a template that gives no key, and a usage error for a key that the
    /// store refuses.
    pub(crate) fn expand(&self) -> anyhow::Result<Keys> {
        let key = |template: &str| setup::key_in(&self.workspace, template, &self.paths);
        let prefixes = |templates: &[String]| {
            templates
                .iter()
                .map(|template| {
                    setup::expand_in(&self.workspace, template, false, &self.paths)
                        .map(|expanded| expanded.key)
                })
                .collect::<anyhow::Result<Vec<_>>>()
        };
        Ok(Keys {
            layers: self
                .layers
                .iter()
                .map(|layer| {
                    let (name, expanded) = key(&layer.key)?;
                    Ok((name, expanded, prefixes(&layer.restore_keys)?))
                })
                .collect::<anyhow::Result<_>>()?,
            main: self.key.as_deref().map(key).transpose()?,
            prefixes: prefixes(&self.restore_keys)?,
        })
    }
}

impl Keys {
    /// The key that lies on top: the cache's own, or that of the last layer.
    pub(crate) fn top(&self) -> Option<&Key> {
        let layer = self.layers.last().map(|(key, ..)| key);
        self.main.as_ref().map(|(key, _)| key).or(layer)
    }

    /// What a restore looks for, the bottom of the stack first, in these scopes.
    pub(crate) fn wanted(&self, scopes: &[Scope]) -> Vec<Wanted> {
        let wanted = |key: &Key, prefixes: &[String]| Wanted {
            scopes: scopes.to_vec(),
            key: key.clone(),
            prefixes: prefixes.to_vec(),
        };
        let main = self.main.iter().map(|(key, _)| wanted(key, &self.prefixes));
        self.layers
            .iter()
            .map(|(key, _, prefixes)| wanted(key, prefixes))
            .chain(main)
            .collect()
    }
}
