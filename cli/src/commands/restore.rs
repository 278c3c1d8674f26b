//! `cachefs restore`.

use std::path::PathBuf;

use clap::Args;

use crate::args::{Format, Global};
use crate::caches::{self, Cache, Layer, ModeArg, RestoreHow};
use crate::progress::Display;
use crate::{exit, output, setup};

/// Options of `restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The key, such as 'm2-{{ checksum "pom.xml" }}'
    #[arg(long, value_name = "KEY", required_unless_present = "layer")]
    key: Option<String>,
    /// Prefix of keys that will do when there is no such key, the newest first (repeatable)
    #[arg(long, value_name = "PREFIX")]
    restore_key: Vec<String>,
    /// Stack another cache below, bottom first: a name for it and its key (repeatable)
    #[arg(long, value_name = "NAME=KEY")]
    layer: Vec<String>,
    /// Where the cache belongs
    #[arg(long, value_name = "DIR")]
    path: PathBuf,
    #[command(flatten)]
    how: RestoreHow,
}

impl RestoreArgs {
    /// The cache that the flags describe.
    fn cache(&self) -> anyhow::Result<Cache> {
        let layers = self.layer.iter().map(|layer| self::layer(layer));
        Ok(Cache {
            name: None,
            workspace: setup::workspace()?,
            key: self.key.clone(),
            restore_keys: self.restore_key.clone(),
            paths: vec![self.path.clone()],
            layers: layers.collect::<anyhow::Result<_>>()?,
            restore: self.how.clone(),
            save: Default::default(),
        })
    }
}

fn layer(text: &str) -> anyhow::Result<Layer> {
    let (name, key) = text.split_once('=').ok_or_else(|| {
        cachefs::Error::usage(
            format!("`{text}` is not NAME=KEY"),
            "for example --layer base=m2-main",
        )
    })?;
    Ok(Layer {
        name: name.to_owned(),
        key: key.to_owned(),
        restore_keys: Vec::new(),
    })
}

/// `cachefs mount`: as [`run`], but a mount or nothing.
pub(crate) fn run_mount(global: &Global, mut args: RestoreArgs) -> anyhow::Result<u8> {
    if args.how.mode == ModeArg::Copy {
        return Err(cachefs::Error::usage(
            "`mount` does not copy",
            "use `cachefs restore --mode copy`",
        )
        .into());
    }
    args.how.mode = ModeArg::Mount;
    run(global, &args)
}

pub(crate) fn run(global: &Global, args: &RestoreArgs) -> anyhow::Result<u8> {
    let caches = [args.cache()?];
    let display = Display::start("copying")?;
    let restored = caches::restore_all(global, &caches, &display)?;
    drop(display);
    let code = caches::worst(restored.iter().map(|one| one.code));
    if code == exit::INTERRUPTED {
        output::say(output::INTERRUPTED);
    }
    if global.format == Format::Json {
        caches::print_restored(&restored, true)?;
    }
    Ok(code)
}
