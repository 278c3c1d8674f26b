//! `cachefs cdi`.

use clap::Args;
use serde_json::json;

use crate::config::{LoadedConfig, Selection};
use crate::global::Global;
use crate::integrations::container_cache::only_path;
use crate::integrations::hook::{self, Called};
use crate::{exit, json_output, output};

/// Options of `cdi`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs cdi > /etc/cdi/cachefs.json")]
pub(crate) struct CdiArgs {
    /// Caches of cachefs.toml [default: all]
    #[arg(value_name = "CACHE")]
    names: Vec<String>,
}

pub(crate) fn run_cdi(
    global: &Global,
    args: &CdiArgs,
    config: &LoadedConfig,
) -> anyhow::Result<u8> {
    let names = &args.names[..];
    let caches = config.caches(&Selection { names, layer: None })?;
    for cache in &caches {
        only_path(cache)?;
    }
    let names: Vec<String> = caches.into_iter().filter_map(|cache| cache.name).collect();
    let file = hook::device_file(&Called::now(global, config, config.project_file())?, &names)?;
    match json_output::is_wanted() {
        true => output::print_json(&json!({ "spec": file }))?,
        false => output::write_stdout(&format!("{}\n", serde_json::to_string_pretty(&file)?)),
    }
    Ok(exit::SUCCESS)
}
