//! `cachefs save`.

use std::path::PathBuf;

use clap::Args;

use crate::caches::{self, CommonOptions, ResolvedCache, SaveHow};
use crate::config::{LoadedConfig, Selection};
use crate::global::{Global, OutputFormat};
use crate::progress::Display;
use crate::{exit, output, setup, working_directory};

/// Options of `save`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs save --key 'npm-{{ checksum \"package-lock.json\" }}' --path node_modules")]
pub(crate) struct SaveArgs {
    /// Caches of cachefs.toml [default: all, unless --key is set]
    #[arg(value_name = "CACHE", conflicts_with_all = ["key", "path"])]
    names: Vec<String>,
    /// Key or template, for example 'm2-{{ checksum "pom.xml" }}'
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Save as this layer of a stack; restore the path up to that layer first
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Directory to save, or a pattern such as 'packages/*/node_modules' or '!**/*.log'
    /// (repeatable)
    #[arg(long, value_name = "PATH")]
    path: Vec<PathBuf>,
    #[command(flatten)]
    common: CommonOptions,
    #[command(flatten)]
    how: SaveHow,
}

impl SaveArgs {
    fn caches(&self, config: &LoadedConfig) -> anyhow::Result<Vec<ResolvedCache>> {
        match (&self.key, !self.path.is_empty()) {
            (Some(key), true) => Ok(vec![ResolvedCache {
                name: None,
                workspace: setup::workspace_directory()?,
                key: Some(key.clone()),
                restore_keys: Vec::new(),
                paths: self.path.clone(),
                layers: Vec::new(),
                only: self.layer.clone(),
                common: self.common.clone(),
                restore: Default::default(),
                save: self.how.clone(),
            }]),
            (Some(_), false) => Err(caches::no_path().into()),
            (None, true) => Err(caches::no_key().into()),
            (None, false) => config.caches(&Selection {
                names: &self.names,
                layer: self.layer.as_deref(),
            }),
        }
    }
}

pub(crate) fn run_save(
    global: &Global,
    args: &SaveArgs,
    config: &LoadedConfig,
) -> anyhow::Result<u8> {
    let caches = args.caches(config)?;
    let display = Display::start("saving")?;
    let saved = caches::save_all(global, &caches, &display)?;
    drop(display);
    working_directory::warn_of_save(&saved);
    let code = caches::worst_code(saved.iter().map(|one| one.code));
    if code == exit::INTERRUPTED {
        output::log_text(output::INTERRUPTED);
    }
    if global.format == OutputFormat::Json {
        caches::print_results(&saved)?;
    }
    Ok(code)
}
