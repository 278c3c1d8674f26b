//! `cachefs completions`.

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
    clap_complete::generate(args.shell, &mut command, "cachefs", &mut std::io::stdout());
    Ok(exit::SUCCESS)
}
