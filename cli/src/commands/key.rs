//! `cachefs key`.

use std::path::PathBuf;

use clap::Args;

use crate::global::{Global, OutputFormat};
use crate::{exit, output, setup};

/// Options of `key`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs key 'npm-{{ arch }}-{{ checksum \"package-lock.json\" }}'")]
pub(crate) struct KeyArgs {
    /// The template, for example 'm2-{{ checksum "pom.xml" }}'
    template: String,
    /// Base directory of relative paths and patterns [default: the current directory]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Accept missing files and unset variables
    #[arg(long)]
    allow_missing: bool,
}

pub(crate) fn run_key(global: &Global, args: &KeyArgs) -> anyhow::Result<u8> {
    let current = setup::workspace_directory()?;
    let workspace = args
        .workspace
        .as_ref()
        .map_or(current.clone(), |dir| current.join(dir));
    let expanded = setup::expand_in(&workspace, &args.template, args.allow_missing, &[])?;
    if global.format == OutputFormat::Json {
        output::print_json(&expanded)?;
        return Ok(exit::SUCCESS);
    }
    output::print_text(&expanded.key);
    for part in &expanded.parts {
        for file in &part.files {
            let hash = file.blake3.as_deref().unwrap_or("missing");
            output::print_text(&format!("  {hash}  {:>10}  {}", file.bytes, file.path));
        }
        if let Some(variable) = &part.variable {
            output::print_text(&format!("  ${variable} = {}", part.value.escape_debug()));
        }
        for path in &part.skipped {
            output::print_text(&format!("  skipped: {path}"));
        }
    }
    Ok(exit::SUCCESS)
}
