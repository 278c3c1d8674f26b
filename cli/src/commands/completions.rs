//! `cachefs completions`.

use std::io::Write as _;

use clap::{Args, CommandFactory as _};

use crate::exit;

/// Options of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<u8> {
    let mut command = crate::args::Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "cachefs", &mut script);
    // A reader that has had enough (`| head`) is no error.
    let _ = std::io::stdout().write_all(&script);
    Ok(exit::SUCCESS)
}
