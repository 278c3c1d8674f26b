//! `cachefs restore`.

use std::path::PathBuf;

use clap::Args;

use crate::caches::{self, CacheLayer, CommonOptions, ModeArg, ResolvedCache, RestoreHow};
use crate::config::{LoadedConfig, Selection};
use crate::global::{Global, OutputFormat};
use crate::progress::Display;
use crate::{exit, output, setup};

/// Options of `restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Caches of cachefs.toml [default: all, unless --key is set]
    #[arg(value_name = "CACHE", conflicts_with = "key")]
    names: Vec<String>,
    /// Key or template, for example 'm2-{{ checksum "pom.xml" }}'
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Fall back to the newest key with this prefix (repeatable, in order)
    #[arg(long, value_name = "PREFIX", requires = "key")]
    restore_key: Vec<String>,
    /// Stack this cache below (repeatable, bottom first); of cachefs.toml: the last layer to
    /// restore
    #[arg(long, value_name = "NAME=KEY", hide_short_help = true)]
    layer: Vec<String>,
    /// Directory to restore, or a pattern such as 'packages/*/node_modules' or '!**/*.log'
    /// (repeatable)
    #[arg(long, value_name = "PATH")]
    path: Vec<PathBuf>,
    #[command(flatten)]
    common: CommonOptions,
    #[command(flatten)]
    pub(crate) how: RestoreHow,
}

impl RestoreArgs {
    fn caches(&self, config: &LoadedConfig) -> anyhow::Result<Vec<ResolvedCache>> {
        if self.key.is_some() || !self.path.is_empty() {
            return Ok(vec![self.cache()?]);
        }
        match &self.layer[..] {
            [] => config.caches(&Selection {
                names: &self.names,
                layer: None,
            }),
            [layer] if !layer.contains('=') => config.caches(&Selection {
                names: &self.names,
                layer: Some(layer),
            }),
            _ => Err(cachefs::Error::usage(
                "--layer NAME=KEY needs --path",
                "add --path; for a cache of cachefs.toml, pass only the name: --layer base",
            )
            .into()),
        }
    }

    /// The cache that the flags describe.
    fn cache(&self) -> anyhow::Result<ResolvedCache> {
        if self.path.is_empty() {
            return Err(caches::no_path().into());
        }
        if self.key.is_none() && self.layer.is_empty() {
            return Err(caches::no_key().into());
        }
        let layers = self.layer.iter().map(|layer| self::parse_layer(layer));
        Ok(ResolvedCache {
            name: None,
            workspace: setup::workspace_directory()?,
            key: self.key.clone(),
            restore_keys: self.restore_key.clone(),
            paths: self.path.clone(),
            layers: layers.collect::<anyhow::Result<_>>()?,
            only: None,
            common: self.common.clone(),
            restore: self.how.clone(),
            save: Default::default(),
        })
    }
}

fn parse_layer(text: &str) -> anyhow::Result<CacheLayer> {
    let (name, key) = text.split_once('=').ok_or_else(|| {
        cachefs::Error::usage(
            format!("`{text}` is not NAME=KEY"),
            "for example --layer base=m2-main",
        )
    })?;
    Ok(CacheLayer {
        name: name.to_owned(),
        key: key.to_owned(),
        restore_keys: Vec::new(),
    })
}

/// `cachefs mount`: like [`run_restore`], but never copies.
pub(crate) fn run_mount(
    global: &Global,
    args: &RestoreArgs,
    config: &LoadedConfig,
) -> anyhow::Result<u8> {
    let mut caches = args.caches(config)?;
    for cache in &mut caches {
        if cache.restore.mode == ModeArg::Copy {
            return Err(cachefs::Error::usage(
                "`mount` does not copy",
                "use `cachefs restore --mode copy`",
            )
            .into());
        }
        cache.restore.mode = ModeArg::Mount;
    }
    restore_and_print(global, &caches)
}

pub(crate) fn run_restore(
    global: &Global,
    args: &RestoreArgs,
    config: &LoadedConfig,
) -> anyhow::Result<u8> {
    restore_and_print(global, &args.caches(config)?)
}

fn restore_and_print(global: &Global, caches: &[ResolvedCache]) -> anyhow::Result<u8> {
    let display = Display::start("copying")?;
    let restored = caches::restore_all(global, caches, &display)?;
    drop(display);
    let code = caches::worst_code(restored.iter().map(|one| one.code));
    if code == exit::INTERRUPTED {
        output::log_text(output::INTERRUPTED);
    }
    if global.format == OutputFormat::Json {
        caches::print_results(&restored)?;
    }
    Ok(code)
}
