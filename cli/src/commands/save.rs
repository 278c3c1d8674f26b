//! `cachefs save`.

use std::path::PathBuf;

use clap::Args;

use crate::caches::{self, Cache, Common, SaveHow};
use crate::config::{Config, Selection};
use crate::global::{Format, Global};
use crate::progress::Display;
use crate::{exit, output, setup, working_directory};

/// Options of `save`.
#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// Caches of cachefs.toml [default: all of them, unless there is --key]
    #[arg(value_name = "CACHE", conflicts_with_all = ["key", "path"])]
    names: Vec<String>,
    /// The key, such as 'm2-{{ checksum "pom.xml" }}'
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Save as this layer of a stack; the path was restored up to there
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// The directory to save; repeatable, with patterns such as 'packages/*/node_modules' and
    /// exclusions such as '!**/*.log'
    #[arg(long, value_name = "PATH")]
    path: Vec<PathBuf>,
    #[command(flatten)]
    how: SaveHow,
    #[command(flatten)]
    common: Common,
}

impl SaveArgs {
    fn caches(&self, config: &Config) -> anyhow::Result<Vec<Cache>> {
        match (&self.key, !self.path.is_empty()) {
            (Some(key), true) => Ok(vec![Cache {
                name: None,
                workspace: setup::workspace()?,
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

pub(crate) fn run(global: &Global, args: &SaveArgs, config: &Config) -> anyhow::Result<u8> {
    let caches = args.caches(config)?;
    let display = Display::start("saving")?;
    let saved = caches::save_all(global, &caches, &display)?;
    drop(display);
    working_directory::warn_of_save(&saved);
    let code = caches::worst(saved.iter().map(|one| one.code));
    if code == exit::INTERRUPTED {
        output::say(output::INTERRUPTED);
    }
    if global.format == Format::Json {
        caches::print_saved(&saved)?;
    }
    Ok(code)
}
