//! `cachefs man`.

use std::path::PathBuf;

use clap::{Args, Command};
use serde_json::json;

use crate::{exit, json_output, output};

/// Options of `man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs man | man -l -
  cachefs man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Write a page for every command into this directory, for example cachefs-restore.1
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub(crate) fn run_man(args: &ManArgs, command: Command) -> anyhow::Result<u8> {
    let Some(directory) = &args.directory else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        let page = String::from_utf8_lossy(&page);
        match json_output::is_wanted() {
            true => output::print_json(&json!({ "page": page }))?,
            false => output::write_stdout(&page),
        }
        return Ok(exit::SUCCESS);
    };
    std::fs::create_dir_all(directory).map_err(cachefs::Error::io("create", directory))?;
    clap_mangen::generate_to(command, directory)
        .map_err(cachefs::Error::io("write to", directory))?;
    output::log_text(&format!(
        "wrote the pages to {}",
        output::format_path(directory)
    ));
    if json_output::is_wanted() {
        output::print_json(&json!({ "directory": output::format_path(directory) }))?;
    }
    Ok(exit::SUCCESS)
}
