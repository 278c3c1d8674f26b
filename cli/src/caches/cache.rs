//! One cache: its keys, its paths, and how it is restored and saved.

use std::path::PathBuf;

use cachefs_store::refs::{Key, KeyQuery, Scope};

use super::options::{CommonOptions, RestoreHow, SaveHow};
use crate::{keys, setup};

/// One cache, resolved from flags or a file.
#[derive(Debug, Clone)]
pub(crate) struct ResolvedCache {
    /// Its name in the file, which prefixes all its output; `None` if flags describe it.
    pub(crate) name: Option<String>,
    /// The directory that files and patterns in key templates are resolved against; absolute.
    pub(crate) workspace: PathBuf,
    /// Template of the key that `save` writes, and that `restore` puts on top of the stack. `None`
    /// restores only the layers.
    pub(crate) key: Option<String>,
    /// Templates of fallback prefixes for a missing key, best first.
    pub(crate) restore_keys: Vec<String>,
    /// Paths, patterns and exclusions, as written.
    pub(crate) paths: Vec<PathBuf>,
    /// The caches that are stacked below the key's, bottom first.
    pub(crate) layers: Vec<CacheLayer>,
    /// The layer to treat as the whole cache: `key` is its key, and `layers` are those below it.
    pub(crate) only: Option<String>,
    /// Whether to restore and to save it.
    pub(crate) common: CommonOptions,
    /// How to restore it.
    pub(crate) restore: RestoreHow,
    /// How to save it.
    pub(crate) save: SaveHow,
}

/// A cache below others in a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheLayer {
    /// Name of the layer, such as `base`.
    pub(crate) name: String,
    /// Template of its key.
    pub(crate) key: String,
    /// Templates of fallback prefixes, best first.
    pub(crate) restore_keys: Vec<String>,
}

/// The expanded templates of a cache.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExpandedKeys {
    /// The key with its parts; `None` if the cache has only layers.
    pub(crate) main: Option<(Key, keys::ExpandedKey)>,
    /// The expanded prefixes, best first.
    pub(crate) prefixes: Vec<String>,
    /// The key, its parts, and the prefixes of each layer, in the order of
    /// [`ResolvedCache::layers`].
    pub(crate) layers: Vec<(Key, keys::ExpandedKey, Vec<String>)>,
}

impl ResolvedCache {
    /// Expands the templates.
    ///
    /// # Errors
    ///
    /// [`keys::KeyError`] for an invalid template, and a usage error for a key that the store
    /// rejects.
    pub(crate) fn expand(&self) -> anyhow::Result<ExpandedKeys> {
        let allow_missing = self.common.allow_missing;
        let expand = |template: &str| {
            let author = &self.common.author;
            setup::expand_of(
                author,
                &self.workspace,
                template,
                allow_missing,
                &self.paths,
            )
        };
        let key = |template: &str| setup::check_key(expand(template)?);
        let prefixes = |templates: &[String]| {
            if self.restore.strict_key {
                return Ok(Vec::new());
            }
            templates
                .iter()
                .map(|template| expand(template).map(|expanded| expanded.key))
                .collect::<anyhow::Result<Vec<_>>>()
        };
        Ok(ExpandedKeys {
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

impl ExpandedKeys {
    /// The key on top of the stack: the cache's own, or that of the last layer.
    pub(crate) fn top(&self) -> Option<&Key> {
        let layer = self.layers.last().map(|(key, ..)| key);
        self.main.as_ref().map(|(key, _)| key).or(layer)
    }

    /// The number of keys, layers included.
    pub(crate) fn count(&self) -> usize {
        self.layers.len() + usize::from(self.main.is_some())
    }

    /// The queries that restore the cache from these scopes, from the bottom of the stack.
    pub(crate) fn wanted(&self, cache: &ResolvedCache, scopes: &[Scope]) -> Vec<KeyQuery> {
        let wanted = |key: &Key, prefixes: &[String], role: Option<&String>| KeyQuery {
            scopes: scopes.to_vec(),
            key: key.clone(),
            prefixes: prefixes.to_vec(),
            chosen: None,
            role: role.cloned(),
        };
        let main = self
            .main
            .iter()
            .map(|(key, _)| wanted(key, &self.prefixes, cache.only.as_ref()));
        self.layers
            .iter()
            .zip(&cache.layers)
            .map(|((key, _, prefixes), layer)| wanted(key, prefixes, Some(&layer.name)))
            .chain(main)
            .collect()
    }
}
