//! `cachefs oci-hook` and `cachefs cdi`.

use clap::Args;

use crate::args::Global;
use crate::caches::{Common, RestoreHow, SaveHow};
use crate::config::{Config, Selection};
use crate::hook::{self, Called, Hooked, State};
use crate::volumes::Defaults;
use crate::{exit, output, setup};

/// Options of `oci-hook`.
#[derive(Debug, Args)]
pub(crate) struct OciHookArgs {
    /// Show this cache of cachefs.toml in the container (repeatable) [default: what the container's
    /// annotations io.cachefs.NAME.OPTION describe]
    #[arg(long, value_name = "NAME")]
    cache: Vec<String>,
    /// Print the file that has podman and CRI-O call this for annotated containers
    #[arg(long, conflicts_with = "cache")]
    print: bool,
    #[command(flatten)]
    restore: RestoreHow,
    #[command(flatten)]
    save: SaveHow,
    #[command(flatten)]
    common: Common,
}

/// Options of `cdi`.
#[derive(Debug, Args)]
pub(crate) struct CdiArgs {
    /// Caches of cachefs.toml [default: all of them]
    #[arg(value_name = "CACHE")]
    names: Vec<String>,
}

pub(crate) fn run(global: &Global, args: &OciHookArgs, config: &Config) -> anyhow::Result<u8> {
    if args.print {
        return print(&hook::hook(&called(global, config)?));
    }
    let state = State::read(std::io::stdin().lock())?;
    let hooked = match &args.cache[..] {
        [] => Hooked::Annotations(Defaults {
            vocabulary: config.vocabulary(),
        }),
        names => Hooked::Caches(config.caches(&Selection { names, layer: None })?),
    };
    hook::run(global, &setup::store(global)?, &state, &hooked)
}

pub(crate) fn run_cdi(global: &Global, args: &CdiArgs, config: &Config) -> anyhow::Result<u8> {
    let names = &args.names[..];
    let caches = config.caches(&Selection { names, layer: None })?;
    for cache in &caches {
        crate::volumes::only_path(cache)?;
    }
    let names: Vec<String> = caches.into_iter().filter_map(|cache| cache.name).collect();
    let mut called = called(global, config)?;
    called.flags.retain(|flag| !flag.starts_with("--config="));
    if let Some(file) = config.project_file() {
        called.flags.push(format!("--config={}", file.display()));
    }
    print(&hook::devices(&called, &names)?)
}

fn print(file: &serde_json::Value) -> anyhow::Result<u8> {
    output::print(&serde_json::to_string_pretty(file)?);
    Ok(exit::SUCCESS)
}

/// This program, as it was called: the hook has nothing of this environment.
fn called(global: &Global, config: &Config) -> anyhow::Result<Called> {
    let mut flags = config.vocabulary().flags();
    if !flags.iter().any(|flag| flag.starts_with("--store=")) {
        flags.push(format!("--store={}", setup::store_path(global)?.display()));
    }
    let is_passed_on = |name: &str| {
        matches!(name, "HOME" | "PATH") || name.starts_with("CACHEFS_") && name != "CACHEFS_STORE"
    };
    let mut env: Vec<String> = std::env::vars()
        .filter(|(name, _)| is_passed_on(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    env.sort();
    Ok(Called {
        program: std::env::current_exe()?,
        flags,
        env,
    })
}
