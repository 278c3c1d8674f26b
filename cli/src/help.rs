//! The layout of help texts: commands in groups, and options that only long help shows.

use clap::builder::Styles;
use clap::{Arg, Command, Subcommand};

use crate::global::REMOTE_HEADING;

/// The commands by purpose, in the order in which a new user needs them.
const GROUPS: [(&str, &[&str]); 5] = [
    (
        "Restore and save",
        &["restore", "mount", "save", "exec", "auto", "umount"],
    ),
    (
        "Inspect",
        &[
            "list", "lookup", "inspect", "diff", "explain", "key", "detect", "config", "stats",
        ],
    ),
    (
        "Administer a remote",
        &[
            "gc", "delete", "promote", "scopes", "check", "import", "export",
        ],
    ),
    (
        "Containers",
        &[
            "attach",
            "detach",
            "volume-plugin",
            "serve",
            "oci-hook",
            "cdi",
            "csi",
        ],
    ),
    (
        "This machine",
        &["doctor", "daemon", "completions", "man", "help"],
    ),
];

/// The template of the root command's help. clap can group options but not commands, so the list of
/// commands is a part of the template.
pub(crate) fn grouped_template<C: Subcommand>() -> String {
    let commands = C::augment_subcommands(Command::new("cachefs"));
    let styles = Styles::styled();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let mut template = "{before-help}{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (title, names) in GROUPS {
        template.push_str(&format!("\n{header}{title}:{header:#}\n"));
        // A build without an integration lacks its command.
        for command in names
            .iter()
            .filter_map(|name| commands.find_subcommand(name))
        {
            let about = command.get_about().unwrap_or_default();
            let name = command.get_name();
            template.push_str(&format!("  {literal}{name:13}{literal:#}  {about}\n"));
        }
    }
    template + &format!("\n{header}Options of all commands:{header:#}\n{{options}}{{after-help}}")
}

/// Applies [`arrange_option`] to a command and its subcommands.
pub(crate) fn arrange_options(command: Command) -> Command {
    command
        .mut_args(arrange_option)
        .mut_subcommands(arrange_options)
}

/// Hides the values of environment variables, so that help is the same in every environment. Hides
/// the options of the remote in short help; `cachefs help remote` prints them.
pub(crate) fn arrange_option(arg: Arg) -> Arg {
    let is_detail = arg.get_help_heading() == Some(REMOTE_HEADING) && arg.get_id() != "remote";
    let hidden = arg.is_hide_short_help_set() || is_detail;
    arg.hide_env_values(true).hide_short_help(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn every_command_is_in_one_group() {
        let grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| *names).collect();
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let number = grouped.iter().filter(|grouped| ***grouped == name).count();
            assert_eq!(number, 1, "{name}");
        }
    }
}
