//! The known settings, derived from the options of the commands.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

use super::error::ConfigProblem;

/// Options of a single run, which cannot be settings.
const OF_ONE_RUN: [&str; 7] = [
    "help",
    "version",
    "verbose",
    "config",
    "no-config",
    "dry-run",
    "lookup-only",
];
/// Options that define a cache, and so belong in its table.
pub(super) const OF_A_CACHE: [&str; 4] = ["key", "restore-key", "path", "layer"];
/// The commands whose options are settings, in addition to the global options.
pub(super) const COMMANDS: [&str; 2] = ["restore", "save"];

/// All settings, by name.
#[derive(Debug)]
pub(super) struct Known {
    /// Settings at the top level: global options, and defaults for all caches.
    pub(super) settings: BTreeMap<String, SettingKind>,
    /// Settings of a cache.
    pub(super) of_caches: BTreeMap<String, SettingKind>,
}

/// The type of a setting's value.
#[derive(Debug, Clone)]
pub(super) struct SettingKind {
    /// Whether it accepts several values.
    pub(super) is_list: bool,
    /// Whether it is a boolean.
    pub(super) is_switch: bool,
    /// Whether it accepts a number without quotes.
    pub(super) takes_number: bool,
    /// Whether it is a path, which is relative to the file.
    pub(super) is_path: bool,
    parser: ValueParser,
}

impl Known {
    /// The settings of a command.
    pub(super) fn of(command: &Command) -> Self {
        let own = |command: &Command| -> BTreeMap<String, SettingKind> {
            command
                .get_arguments()
                .filter_map(|arg| Some((arg.get_long()?.to_owned(), SettingKind::of(arg))))
                .filter(|(name, _)| !OF_ONE_RUN.contains(&name.as_str()))
                .collect()
        };
        let mut of_caches = BTreeMap::new();
        for name in COMMANDS {
            of_caches.extend(command.find_subcommand(name).map(own).unwrap_or_default());
        }
        let mut settings = own(command);
        for (name, kind) in &of_caches {
            if !OF_A_CACHE.contains(&name.as_str()) {
                settings.insert(name.clone(), kind.clone());
            }
        }
        Self {
            settings,
            of_caches,
        }
    }
}

impl SettingKind {
    fn of(arg: &Arg) -> Self {
        let parser = arg.get_value_parser().clone();
        let switch = matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse);
        let is = |other: ValueParser| parser.type_id() == other.type_id();
        let is_text = is(ValueParser::string()) || parser.possible_values().is_some();
        let is_list = matches!(arg.get_action(), ArgAction::Append);
        Self {
            is_list,
            is_switch: switch || is(ValueParser::bool()),
            takes_number: !is_list && !is_text && !is(ValueParser::path_buf()),
            is_path: is(ValueParser::path_buf()),
            parser,
        }
    }

    /// The expected type, in words.
    pub(super) fn wanted(&self) -> &'static str {
        match self {
            Self {
                is_switch: true, ..
            } => "true or false",
            Self { is_list: true, .. } => "a string or a list of strings",
            Self {
                takes_number: true, ..
            } => "a string or a number",
            _ => "a string",
        }
    }

    /// Checks a value with the option's own parser.
    pub(super) fn check(&self, name: &str, value: &str) -> Result<(), ConfigProblem> {
        let arg = Arg::new("value")
            .long("value")
            .allow_hyphen_values(true)
            .value_parser(self.parser.clone());
        let parsed = Command::new("check")
            .no_binary_name(true)
            .arg(arg)
            .try_get_matches_from([format!("--value={value}")]);
        let Err(error) = parsed else { return Ok(()) };
        let choices = match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(choices)) => choices.join(", "),
            _ => String::new(),
        };
        let why = std::error::Error::source(&error).map(ToString::to_string);
        Err(ConfigProblem::Value {
            message: match why {
                Some(why) if error.kind() == ErrorKind::ValueValidation => {
                    format!("invalid `{name}`: {why}")
                }
                _ => format!("invalid value `{value}` for `{name}`"),
            },
            hint: if choices.is_empty() {
                format!("`cachefs help restore` explains --{name}")
            } else {
                format!("use one of {choices}")
            },
        })
    }
}

/// The setting for a name in a file. Lists also have a plural name, for example `restore-keys`.
pub(super) fn find_setting<'a>(
    settings: &'a BTreeMap<String, SettingKind>,
    name: &str,
) -> Option<(&'a str, &'a SettingKind)> {
    let singular = name.strip_suffix('s').unwrap_or_default();
    settings
        .get_key_value(name)
        .or_else(|| {
            settings
                .get_key_value(singular)
                .filter(|(_, kind)| kind.is_list)
        })
        .map(|(name, kind)| (name.as_str(), kind))
}

/// Lists whose names have no plural.
const NO_PLURAL: [&str; 1] = ["secrets-allow"];

/// The names to suggest, lists in the plural.
pub(super) fn proposed_names(settings: &BTreeMap<String, SettingKind>) -> Vec<String> {
    settings
        .iter()
        .map(|(name, kind)| {
            let is_plural = name.ends_with('s') || NO_PLURAL.contains(&name.as_str());
            match kind.is_list && !is_plural {
                true => format!("{name}s"),
                false => name.clone(),
            }
        })
        .collect()
}

/// Makes a path of a file absolute: `~` is the home directory, anything else is relative to the
/// directory of the file. A path that starts with `!` stays as it is, because the meaning of an
/// exclusion depends on its spelling.
pub(super) fn anchor_path(path: &str, directory: &std::path::Path) -> String {
    if path.starts_with('!') {
        return path.to_owned();
    }
    let home = || std::env::home_dir().filter(|home| home.is_absolute());
    let in_home = match path.strip_prefix('~') {
        Some("") => home(),
        Some(rest) => rest
            .strip_prefix('/')
            .and_then(|rest| Some(home()?.join(rest))),
        None => None,
    };
    let path = in_home.unwrap_or_else(|| directory.join(path));
    // `./node_modules` becomes `node_modules`; `..` stays, as it may pass through a link.
    path.components()
        .collect::<PathBuf>()
        .to_string_lossy()
        .into_owned()
}
