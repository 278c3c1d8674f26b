//! `cachefs key`.

use std::path::PathBuf;

use clap::Args;

use crate::global::{Format, Global};
use crate::{exit, output, setup};

/// Options of `key`.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// The template, for example 'm2-{{ checksum "pom.xml" }}'
    template: String,
    /// Directory that relative paths and patterns start from [default: the current one]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Accept missing files and unset variables
    #[arg(long)]
    allow_missing: bool,
}

pub(crate) fn run(global: &Global, args: &KeyArgs) -> anyhow::Result<u8> {
    let current = setup::workspace()?;
    let workspace = args
        .workspace
        .as_ref()
        .map_or(current.clone(), |dir| current.join(dir));
    let expanded = setup::expand_in(&workspace, &args.template, args.allow_missing, &[])?;
    if global.format == Format::Json {
        output::print_json(&expanded)?;
        return Ok(exit::SUCCESS);
    }
    output::print(&expanded.key);
    for part in &expanded.parts {
        for file in &part.files {
            let hash = file.blake3.as_deref().unwrap_or("missing");
            output::print(&format!("  {hash}  {:>10}  {}", file.bytes, file.path));
        }
        if let Some(variable) = &part.variable {
            output::print(&format!("  ${variable} = {}", part.value.escape_debug()));
        }
        for path in &part.skipped {
            output::print(&format!("  passed over: {path}"));
        }
    }
    Ok(exit::SUCCESS)
}
