//! Generates the lists of commands and options in `docs/reference` from the definition of the
//! command line, and checks that the pages are up to date.
//!
//! `INSTA_UPDATE=always cargo test -p cachefs-cli` updates them, together with the snapshots.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use crate::args::Cli;
use crate::exit;

/// The line width of Markdown in this project.
const WIDTH: usize = 100;
/// The markers around the generated part of a page.
const START: &str = "<!-- generated from the command line by cli/src/reference.rs; do not edit -->";
const END: &str = "<!-- end of the generated part -->";

/// The command line with the global options and full names propagated.
fn command_line() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

fn page(name: &str) -> PathBuf {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    docs.join(name)
}

/// Compares the generated part of a page with `text`, or writes it on an update.
fn check_page(name: &str, text: &str) {
    let path = page(name);
    let old = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = old.split_once(START).expect(START);
    let (_, after) = rest.split_once(END).expect(END);
    let new = format!("{before}{START}\n\n{}\n\n{END}{after}", text.trim());
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, new).unwrap();
        return;
    }
    let differs = old.lines().zip(new.lines()).find(|(old, new)| old != new);
    assert!(
        old == new,
        "docs/reference/{name} is out of date: {differs:?}\n\
         run: INSTA_UPDATE=always cargo test -p cachefs-cli"
    );
}

/// Converts help text to Markdown: escapes markup characters outside of code.
fn markdown(help: &str) -> String {
    let mut text = String::new();
    for (number, part) in help.split('`').enumerate() {
        if number > 0 {
            text.push('`');
        }
        match number % 2 {
            0 => part.chars().for_each(|character| {
                if matches!(character, '*' | '<') {
                    text.push('\\');
                }
                text.push(character);
            }),
            _ => text.push_str(part),
        }
    }
    text
}

/// Wraps text at [`WIDTH`]; lines after the first one are indented.
fn wrap(text: &str, indent: &str) -> String {
    let mut wrapped = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            write!(wrapped, "\n{indent}").unwrap();
            width = indent.len();
        } else if width > 0 {
            wrapped.push(' ');
            width += 1;
        }
        wrapped.push_str(word);
        width += length;
    }
    wrapped
}

/// The syntax of an argument: `--mode <MODE>`, `-v, --verbose`, `<PATH>`.
fn typed(arg: &Arg) -> String {
    let values = || {
        let names = arg.get_value_names().unwrap_or_default();
        let names = names
            .iter()
            .map(|name| match arg.is_positional() && !arg.is_required_set() {
                true => format!("[{name}]"),
                false => format!("<{name}>"),
            });
        names.collect::<Vec<_>>().join(" ")
    };
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let names: Vec<_> = short.into_iter().chain(long).collect();
    match (names.is_empty(), arg.get_action().takes_values()) {
        (true, _) => values(),
        (false, true) => format!("{} {}", names.join(", "), values()),
        (false, false) => names.join(", "),
    }
}

/// A list item for an argument: its help, values, default and environment variable.
fn item(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).unwrap_or_default();
    let mut text = markdown(&help.to_string());
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    let code = |value: &str| format!("`{value}`");
    let takes_values = arg.get_action().takes_values();
    let values = arg.get_possible_values();
    if takes_values && !values.is_empty() && !arg.is_hide_possible_values_set() {
        let values = values.iter().filter(|value| !value.is_hide_set());
        let values: Vec<_> = values.map(|value| code(value.get_name())).collect();
        write!(text, " Values: {}.", values.join(", ")).unwrap();
    }
    let defaults = arg.get_default_values();
    if takes_values && !defaults.is_empty() && !arg.is_hide_default_value_set() {
        let defaults = defaults.iter().map(|value| code(&value.to_string_lossy()));
        let defaults: Vec<_> = defaults.filter(|value| value != "``").collect();
        if !defaults.is_empty() {
            write!(text, " Default: {}.", defaults.join(", ")).unwrap();
        }
    }
    if let Some(variable) = arg.get_env() {
        write!(text, " Variable: `{}`.", variable.to_string_lossy()).unwrap();
    }
    // Otherwise a dash that is wrapped to the start of a line would begin a list.
    let text = text.replace(" - ", " \\- ");
    wrap(&format!("- `{}`: {text}", typed(arg)), "  ")
}

/// The visible arguments of a command; `is_global` selects the global ones instead.
fn arguments(command: &Command, is_global: bool) -> Vec<String> {
    let arguments = command.get_arguments().filter(|arg| {
        arg.is_global_set() == is_global
            && !arg.is_hide_set()
            && !matches!(
                arg.get_action(),
                ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
            )
    });
    arguments.map(item).collect()
}

/// A command and its subcommands, without those that only print help.
fn commands(command: &Command) -> Vec<&Command> {
    let below = command
        .get_subcommands()
        .filter(|command| command.get_name() != "help" && !command.is_hide_set());
    below
        .flat_map(|command| [vec![command], commands(command)].concat())
        .collect()
}

/// The section of a command; `seen` has the arguments of earlier sections with their titles.
fn section(command: &Command, seen: &mut Vec<(String, Vec<String>)>) -> String {
    let title = command
        .get_bin_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let about = command
        .get_long_about()
        .or(command.get_about())
        .unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let mut text = format!(
        "### {title}\n\n{}.\n\n```text\n{usage}\n```\n\n",
        wrap(markdown(&about.to_string()).trim_end_matches('.'), "")
    );
    let own = arguments(command, false);
    match seen
        .iter()
        .find(|(_, arguments)| *arguments == own && !own.is_empty())
    {
        Some((title, _)) => {
            let anchor = title.replace(' ', "-");
            writeln!(text, "It has the options of [`{title}`](#{anchor}).\n").unwrap();
        }
        None if own.is_empty() => {}
        None => {
            writeln!(text, "{}\n", own.join("\n")).unwrap();
            seen.push((title, own));
        }
    }
    if let Some(examples) = command.get_after_long_help().or(command.get_after_help()) {
        writeln!(text, "```text\n{}\n```\n", examples.to_string().trim()).unwrap();
    }
    text
}

#[test]
fn the_page_of_commands_is_up_to_date() {
    let line = command_line();
    let mut seen = Vec::new();
    let sections = commands(&line)
        .into_iter()
        .map(|command| section(command, &mut seen));
    check_page("commands.md", &sections.collect::<String>());
}

#[test]
fn the_page_of_commands_names_every_command_in_its_overview() {
    let page = std::fs::read_to_string(page("commands.md")).unwrap();
    let (overview, _) = page.split_once(START).unwrap();
    for command in commands(&command_line()) {
        let name = command.get_name();
        let is_named = overview.split(|c: char| !(c.is_ascii_lowercase() || c == '-'));
        assert!(is_named.clone().any(|word| word == name), "{name}");
    }
}

#[test]
fn the_page_of_options_is_up_to_date() {
    let options = arguments(&command_line(), true);
    check_page("options.md", &options.join("\n"));
}

#[test]
fn the_page_of_exit_codes_has_every_code() {
    use cachefs_store::ErrorKind;
    let page = std::fs::read_to_string(page("exit-codes.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let code: u8 = cells.get(1)?.parse().ok()?;
        Some((code, cells[3].to_owned()))
    });
    let rows: Vec<_> = rows.collect();
    let codes: Vec<_> = rows.iter().map(|(code, _)| *code).collect();
    let known = [
        exit::SUCCESS,
        exit::LOCAL,
        exit::USAGE,
        exit::MISS,
        exit::BACKEND,
        exit::INTEGRITY,
        exit::INTERRUPTED,
    ];
    assert_eq!(codes, known);
    for kind in [
        ErrorKind::Usage,
        ErrorKind::Backend,
        ErrorKind::Integrity,
        ErrorKind::Local,
        ErrorKind::Changed,
        ErrorKind::Cancelled,
    ] {
        let code = exit::exit_code(kind);
        let (_, by_default) = rows.iter().find(|(known, _)| *known == code).unwrap();
        assert_eq!(
            by_default.starts_with("0,"),
            exit::is_soft(kind),
            "{kind:?}: {by_default}"
        );
    }
}

#[test]
fn help_becomes_markdown() {
    assert_eq!(
        markdown("such as '**/*.log' or `a*b`"),
        r"such as '\*\*/\*.log' or `a*b`"
    );
    let text = wrap(&"word ".repeat(30), "  ");
    assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
    assert!(text.contains("\n  word"), "{text}");
}
