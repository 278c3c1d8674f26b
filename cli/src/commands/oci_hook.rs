//! `cachefs oci-hook`.

use clap::Args;
use serde_json::json;

use crate::caches::{CommonOptions, RestoreHow, SaveHow};
use crate::config::{LoadedConfig, Selection};
use crate::global::Global;
use crate::integrations::container_cache::{Defaults, WorkspaceArgs};
use crate::integrations::hook::{self, Called, ContainerState, Hooked};
use crate::{exit, json_output, output, setup};

/// Options of `oci-hook`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs oci-hook --print > /etc/containers/oci/hooks.d/cachefs.json")]
pub(crate) struct OciHookArgs {
    /// Mount this cache of cachefs.toml (repeatable) [default: the caches in the container's
    /// annotations io.cachefs.NAME.OPTION]
    #[arg(long, value_name = "NAME")]
    cache: Vec<String>,
    /// Print the hook configuration for podman and CRI-O
    #[arg(long, conflicts_with = "cache")]
    print: bool,
    #[command(flatten)]
    common: CommonOptions,
    #[command(flatten)]
    workspaces: WorkspaceArgs,
    #[command(flatten)]
    restore: RestoreHow,
    #[command(flatten)]
    save: SaveHow,
}

pub(crate) fn run_oci_hook(
    global: &Global,
    args: &OciHookArgs,
    config: &LoadedConfig,
) -> anyhow::Result<u8> {
    if args.print {
        let called = Called::now(global, config, global.config.as_deref())?;
        let file = hook::hook_file(&called, &args.workspaces.checked()?);
        match json_output::is_wanted() {
            true => output::print_json(&json!({ "hook": file }))?,
            false => output::write_stdout(&format!("{}\n", serde_json::to_string_pretty(&file)?)),
        }
        return Ok(exit::SUCCESS);
    }
    let state = ContainerState::read(std::io::stdin().lock())?;
    let hooked = match &args.cache[..] {
        [] => Hooked::Annotations(Box::new(Defaults {
            vocabulary: config.vocabulary(),
            workspaces: args.workspaces.checked()?,
        })),
        names => Hooked::Caches(config.caches(&Selection { names, layer: None })?),
    };
    hook::run_stage(global, &setup::open_store(global)?, &state, &hooked)
}
