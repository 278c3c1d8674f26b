//! The help of every command, short (`-h`) and long (`--help`).

use std::process::Command;

use regex::Regex;

use crate::session::CACHEFS;

/// The command whose snapshot includes the global options.
const TYPICAL: &str = "list";

/// The help of one command with an empty environment, because help texts include the values of
/// variables.
fn help(command: &[String], flag: &str) -> String {
    let output = Command::new(CACHEFS)
        .args(command)
        .arg(flag)
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?} {flag}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// The commands in a help text: two spaces, a name, and its summary in another column.
fn commands(help: &str) -> Vec<String> {
    let line = Regex::new(r"(?m)^  ([a-z][a-z-]*)(?:, [a-z, -]+)?(?: {2,}\S|$)").unwrap();
    let names = line.captures_iter(help).map(|found| found[1].to_owned());
    names.filter(|name| name != "help").collect()
}

/// A help text without the sections that it shares with the help of [`TYPICAL`]. Otherwise every
/// snapshot would include the global options.
fn without_common(help: &str, typical: &str) -> String {
    let title = Regex::new(r"(?m)^[A-Z][A-Za-z ]+(?: \([^)]*\))?:\n").unwrap();
    let starts: Vec<_> = title.find_iter(help).map(|found| found.start()).collect();
    let mut text = help[..starts.first().copied().unwrap_or(help.len())].to_owned();
    for (number, start) in starts.iter().enumerate() {
        let end = starts.get(number + 1).copied().unwrap_or(help.len());
        let section = &help[*start..end];
        match typical.contains(section.trim_end()) {
            true => {
                let title = section.lines().next().unwrap_or_default();
                text.push_str(&format!(
                    "{title} [as in the help of cachefs {TYPICAL}]\n\n"
                ));
            }
            false => text.push_str(section),
        }
    }
    text.trim_end().to_owned()
}

fn record(command: &[String]) {
    let name = [&["help".to_owned()], command].concat();
    let name = name.join("_").replace('-', "_");
    let mut text = String::new();
    for flag in ["-h", "--help"] {
        let own = help(command, flag);
        let shown = match command {
            [name] if name == TYPICAL => own.clone(),
            _ => without_common(&own, &help(&[TYPICAL.to_owned()], flag)),
        };
        let words = [&["cachefs".to_owned()], command, &[flag.to_owned()]].concat();
        text.push_str(&format!("$ {}\n{shown}\n\n", words.join(" ")));
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text.trim_end());
    });
}

/// The remote options, which `-h` omits.
#[test]
fn the_remote_has_help() {
    let text = help(&["help".to_owned()], "remote");
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("help_remote", format!("$ cachefs help remote\n{text}"));
    });
}

/// The help must fit on one screen for users who look for an option.
#[test]
fn the_help_of_restore_is_short() {
    let lines = help(&["restore".to_owned()], "-h").lines().count();
    assert!(lines <= 60, "{lines} lines");
}

fn record_all(path: &[String]) -> usize {
    record(path);
    let below = commands(&help(path, "-h"));
    let recorded = below.iter().map(|name| {
        let path: Vec<_> = path.iter().cloned().chain([name.clone()]).collect();
        record_all(&path)
    });
    1 + recorded.sum::<usize>()
}

#[test]
fn every_command_has_help() {
    let number = record_all(&[]);
    assert!(number > 40, "only {number} commands were found in the help");
}

#[test]
fn commands_are_found_in_a_help_text() {
    let text = "Usage: x\n\nCommands:\n  restore  Show\n  oci-hook\n      Show\n  help     Print\n\n\
                Example:\n  cachefs save\n\nOptions:\n  -h, --help  Print";
    assert_eq!(commands(text), ["restore", "oci-hook"]);
}
