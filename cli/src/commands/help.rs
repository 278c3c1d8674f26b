//! `cachefs help`.

use std::io::IsTerminal as _;

use clap::{Args, Command};
use serde_json::json;

use crate::global::remote_help;
use crate::{exit, json_output, output};

/// The help topic that is not a command.
const REMOTE: &str = "remote";

/// Options of `help`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs help restore
  cachefs help daemon share
  cachefs help remote")]
pub(crate) struct HelpArgs {
    /// A command, or `remote` for the options of S3, Google Cloud Storage and Azure
    #[arg(value_name = "COMMAND")]
    topic: Vec<String>,
}

pub(crate) fn run_help(args: &HelpArgs, root: Command) -> anyhow::Result<u8> {
    let page = match args.topic.as_slice() {
        [topic] if topic == REMOTE => remote_help().render_help(),
        names => find_command(root, names)?.render_long_help(),
    };
    match json_output::is_wanted() {
        true => output::print_json(&json!({ "help": page.to_string() }))?,
        false => output::write_stdout(&match std::io::stdout().is_terminal() {
            true => page.ansi().to_string(),
            false => page.to_string(),
        }),
    }
    Ok(exit::SUCCESS)
}

/// Finds a command by its path of names, for example `daemon share`.
///
/// # Errors
///
/// A usage error if there is no such command.
fn find_command(mut root: Command, names: &[String]) -> Result<Command, cachefs::Error> {
    // Propagates the global options, and builds full names such as `cachefs daemon share`.
    root.build();
    let found = names
        .iter()
        .try_fold(&root, |command, name| command.find_subcommand(name));
    found.cloned().ok_or_else(|| {
        let name = names.join(" ");
        let hint = "`cachefs help` lists the commands";
        cachefs::Error::usage(format!("there is no command `{name}`"), hint)
    })
}
