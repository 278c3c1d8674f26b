//! Resolves the tables of a file to caches.

use clap::FromArgMatches;

use super::file::CacheTable;
use super::find::PROJECT_FILE;
use super::load::{LoadedConfig, with_defaults};
use crate::caches::{CacheLayer, CommonOptions, ResolvedCache, RestoreHow, SaveHow};

/// The caches of a file that a command selects.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Selection<'a> {
    /// The names of the caches; empty selects all.
    pub(crate) names: &'a [String],
    /// The layer that stands for the whole cache; caches without it are skipped unless named.
    pub(crate) layer: Option<&'a str>,
}

impl LoadedConfig {
    /// The selected caches of the project's file, in the file's order.
    ///
    /// Options of the running command override the file's settings of a cache.
    ///
    /// # Errors
    ///
    /// A usage error if a cache or layer does not exist, or the file has no cache.
    pub(crate) fn caches(&self, selection: &Selection<'_>) -> anyhow::Result<Vec<ResolvedCache>> {
        if self.caches.is_empty() {
            return Err(self.no_caches().into());
        }
        let names: Vec<String> = self.caches.iter().map(|table| table.name.clone()).collect();
        for name in selection.names {
            if !names.contains(name) {
                let hint = match super::error::nearest_name(name, &names) {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None => format!("its caches are {}", names.join(", ")),
                };
                let message = format!("no cache `{name}` in {}", self.file());
                return Err(cachefs::Error::usage(message, hint).into());
            }
        }
        let mut caches = Vec::new();
        for table in &self.caches {
            let is_named = selection.names.contains(&table.name);
            if !is_named && !selection.names.is_empty() {
                continue;
            }
            match selection.layer {
                None => caches.push(self.cache(table)?),
                Some(layer) => match stack_up_to(self.cache(table)?, layer) {
                    Some(cache) => caches.push(cache),
                    None if is_named => return Err(no_layer(table, layer).into()),
                    None => {}
                },
            }
        }
        match (selection.layer, caches.is_empty()) {
            (Some(layer), true) => Err(cachefs::Error::usage(
                format!("no cache in {} has a layer `{layer}`", self.file()),
                "use one of the layers that are defined there",
            )
            .into()),
            _ => Ok(caches),
        }
    }

    fn cache(&self, table: &CacheTable) -> anyhow::Result<ResolvedCache> {
        let command = with_defaults(self.command.clone(), &table.settings);
        let matches = command.clone().try_get_matches_from(&self.arguments)?;
        let said = |name: &str| {
            let setting = table.settings.get(name);
            setting
                .map(|setting| setting.values.clone())
                .unwrap_or_default()
        };
        let mut cache = ResolvedCache {
            name: Some(table.name.clone()),
            workspace: self.project().map(Into::into).unwrap_or_default(),
            key: said("key").into_iter().next(),
            restore_keys: said("restore-key"),
            paths: said("path").into_iter().map(Into::into).collect(),
            layers: table
                .layers
                .iter()
                .map(|(layer, _)| layer.clone())
                .collect(),
            only: None,
            common: CommonOptions::default(),
            restore: RestoreHow::default(),
            save: SaveHow::default(),
        };
        if let Some((name, matches)) = matches.subcommand() {
            let command = command.find_subcommand(name);
            let has = |option: &str| {
                command.is_some_and(|command| {
                    command
                        .get_arguments()
                        .any(|arg| arg.get_long() == Some(option))
                })
            };
            // A command has all options of a group or none.
            if has("policy") {
                cache.common = CommonOptions::from_arg_matches(matches)?;
            }
            if has("prefetch") {
                cache.restore = RestoreHow::from_arg_matches(matches)?;
            }
            if has("ignore-times") {
                cache.save = SaveHow::from_arg_matches(matches)?;
            }
        }
        Ok(cache)
    }

    fn file(&self) -> String {
        let project = self.project().map(|project| project.join(PROJECT_FILE));
        let file = self.caches.first().map(|table| table.place.file.clone());
        file.or(project).map_or_else(
            || PROJECT_FILE.to_owned(),
            |file| file.display().to_string(),
        )
    }

    fn no_caches(&self) -> cachefs::Error {
        let hint = format!(
            "set --key and --path, or define caches in a {PROJECT_FILE} in the root of the project"
        );
        match self.project() {
            Some(_) => cachefs::Error::usage(format!("{} defines no cache", self.file()), hint),
            None => cachefs::Error::usage(
                format!("no --key, and no {PROJECT_FILE} that defines caches"),
                hint,
            ),
        }
    }
}

/// Truncates the stack of a cache above `layer`; `None` if the cache does not have that layer.
fn stack_up_to(mut cache: ResolvedCache, layer: &str) -> Option<ResolvedCache> {
    let at = cache.layers.iter().position(|known| known.name == layer)?;
    let CacheLayer {
        name,
        key,
        restore_keys,
    } = cache.layers.swap_remove(at);
    cache.layers.truncate(at);
    cache.key = Some(key);
    cache.restore_keys = restore_keys;
    cache.only = Some(name);
    Some(cache)
}

fn no_layer(table: &CacheTable, layer: &str) -> cachefs::Error {
    let names: Vec<_> = table.layers.iter().map(|(layer, _)| &*layer.name).collect();
    let hint = match names.is_empty() {
        true => "it has none; add [[cache.NAME.layer]] tables".to_owned(),
        false => format!("its layers are {}", names.join(", ")),
    };
    let message = format!("cache `{}` has no layer `{layer}`", table.name);
    cachefs::Error::usage(message, hint)
}
