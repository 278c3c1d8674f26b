//! One cache: its keys, its paths, and how it is restored and saved.

use std::path::PathBuf;

use cachefs_store::refs::{Key, KeyQuery, Scope};

use super::options::{CommonOptions, RestoreHow, SaveHow};
use crate::{keys, setup};

/// One cache, resolved from flags or a file.
#[derive(Debug, Clone)]
pub(crate) struct ResolvedCache {
    /// Its name in the file, which all its output carries; `None` when flags describe it.
    pub(crate) name: Option<String>,
    /// The directory that files and patterns in key templates start from; absolute.
    pub(crate) workspace: PathBuf,
    /// Template of the key under which `save` saves, and which `restore` puts on top of the stack.
    /// `None` restores only the layers.
    pub(crate) key: Option<String>,
    /// Templates of prefixes that will do when there is no such key, best first.
    pub(crate) restore_keys: Vec<String>,
    /// Where it belongs: paths, patterns and exclusions as they were written.
    pub(crate) paths: Vec<PathBuf>,
    /// The caches that are stacked below the key's, the bottom one first.
    pub(crate) layers: Vec<CacheLayer>,
    /// The layer that stands for the whole: the key is its, and `layers` are those below it.
    pub(crate) only: Option<String>,
    /// Whether it is restored and saved at all.
    pub(crate) common: CommonOptions,
    /// How to restore it.
    pub(crate) restore: RestoreHow,
    /// How to save it.
    pub(crate) save: SaveHow,
}

/// A cache that lies below others in a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheLayer {
    /// Name of the layer, such as `base`.
    pub(crate) name: String,
    /// The template of its key.
    pub(crate) key: String,
    /// Templates of prefixes that will do, best first.
    pub(crate) restore_keys: Vec<String>,
}

/// The expanded templates of a cache.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExpandedKeys {
    /// The key with its parts; `None` when the cache is layers alone.
    pub(crate) main: Option<(Key, keys::ExpandedKey)>,
    /// The expanded prefixes, best first.
    pub(crate) prefixes: Vec<String>,
    /// The key of each layer with its parts and its prefixes, in the order of
    /// [`ResolvedCache::layers`].
    pub(crate) layers: Vec<(Key, keys::ExpandedKey, Vec<String>)>,
}

impl ResolvedCache {
    /// Expands the templates.
    ///
    /// # Errors
    ///
    /// [`keys::KeyError`] for a template that gives no key, and a usage error for a key that the
    /// store refuses.
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
    /// The key that lies on top: the cache's own, or that of the last layer.
    pub(crate) fn top(&self) -> Option<&Key> {
        let layer = self.layers.last().map(|(key, ..)| key);
        self.main.as_ref().map(|(key, _)| key).or(layer)
    }

    /// The number of keys, layers included.
    pub(crate) fn count(&self) -> usize {
        self.layers.len() + usize::from(self.main.is_some())
    }

    /// The queries of a restore of the cache in these scopes, the bottom of the stack first.
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
