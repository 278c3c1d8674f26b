//! `cachefs save`.

use std::path::PathBuf;

use clap::Args;

use crate::args::{Format, Global};
use crate::caches::{self, Cache, SaveHow};
use crate::progress::Display;
use crate::{exit, output, setup};

/// Options of `save`.
#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// The key, such as 'm2-{{ checksum "pom.xml" }}'
    #[arg(long, value_name = "KEY")]
    key: String,
    /// The directory to save
    #[arg(long, value_name = "DIR")]
    path: PathBuf,
    #[command(flatten)]
    how: SaveHow,
}

impl SaveArgs {
    /// The cache that the flags describe.
    fn cache(&self) -> anyhow::Result<Cache> {
        Ok(Cache {
            name: None,
            workspace: setup::workspace()?,
            key: Some(self.key.clone()),
            restore_keys: Vec::new(),
            paths: vec![self.path.clone()],
            layers: Vec::new(),
            restore: Default::default(),
            save: self.how.clone(),
        })
    }
}

pub(crate) fn run(global: &Global, args: &SaveArgs) -> anyhow::Result<u8> {
    let caches = [args.cache()?];
    let display = Display::start("saving")?;
    let saved = caches::save_all(global, &caches, &display)?;
    drop(display);
    let code = caches::worst(saved.iter().map(|one| one.code));
    if code == exit::INTERRUPTED {
        output::say(output::INTERRUPTED);
    }
    if global.format == Format::Json {
        caches::print_saved(&saved, true)?;
    }
    Ok(code)
}
