//! `cachefs completions`.

use clap::{Args, Command};
use serde::Serialize;

use crate::{exit, json_output, output};

/// Options of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs completions bash > /etc/bash_completion.d/cachefs")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

/// Output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedCompletions {
    shell: String,
    script: String,
}

pub(crate) fn run_completions(args: &CompletionsArgs, mut command: Command) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "cachefs", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match json_output::is_wanted() {
        true => output::print_json(&PrintedCompletions {
            shell: args.shell.to_string(),
            script,
        })?,
        false => output::write_stdout(&script),
    }
    Ok(exit::SUCCESS)
}
