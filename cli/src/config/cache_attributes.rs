//! Caches described by names and values instead of a command line or a file.
//!
//! Options of a container volume and annotations of a container are settings of a cache, with the
//! names of `cachefs.toml`. Each is parsed by the command-line option with the same name. Flags,
//! the environment and the files of this process supply the defaults.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};

use super::error::{ConfigProblem, nearest_name};
use super::load::LoadedConfig;
use super::setting_names::{COMMANDS, Known, SettingKind, find_setting, proposed_names};
use crate::caches::{CommonOptions, RestoreHow, SaveHow};
use crate::global::Global;

/// Options of the process rather than of a cache.
const OF_THE_PROCESS: [&str; 8] = [
    "store",
    "daemon",
    "cache-limit",
    "format",
    "log-format",
    "outputs",
    "metrics-file",
    "dotenv",
];
/// Options of a cache that names and values cannot express: layers, and the path, which the caller
/// determines.
const LEFT_OUT: [&str; 2] = ["layer", "path"];

/// The names that are accepted, with the defaults of this process.
#[derive(Debug, Clone)]
pub(crate) struct Vocabulary {
    command: Command,
    /// The global options from the command line, as flags; switches have no value.
    flags: Vec<(String, Option<OsString>)>,
    known: BTreeMap<String, SettingKind>,
}

/// A cache described by names and values; defaults are those of every command.
#[derive(Debug, Clone)]
pub(crate) struct DescribedCache {
    /// The global options, with the overrides of this cache.
    pub(crate) global: Global,
    /// Template of the key.
    pub(crate) key: Option<String>,
    /// Templates of the prefixes, best first.
    pub(crate) restore_keys: Vec<String>,
    /// Whether to restore and to save.
    pub(crate) common: CommonOptions,
    /// How to restore.
    pub(crate) restore: RestoreHow,
    /// How to save.
    pub(crate) save: SaveHow,
}

impl LoadedConfig {
    /// The accepted names, and the values that this process already has.
    pub(crate) fn vocabulary(&self) -> Vocabulary {
        let Known {
            settings,
            of_caches,
        } = Known::of(&self.command);
        let mut known: BTreeMap<String, SettingKind> =
            settings.into_iter().chain(of_caches).collect();
        known.retain(|name, _| {
            !OF_THE_PROCESS.contains(&name.as_str()) && !LEFT_OUT.contains(&name.as_str())
        });
        let given = |arg: &Arg| {
            let id = arg.get_id().as_str();
            let source = self.matches.value_source(id);
            let name = arg
                .get_long()
                .filter(|_| source == Some(ValueSource::CommandLine))?;
            if matches!(arg.get_action(), ArgAction::SetTrue) {
                return Some(vec![(name.to_owned(), None)]);
            }
            let values = self.matches.get_raw(id)?;
            let one = |value: &OsStr| (name.to_owned(), Some(value.to_owned()));
            Some(values.map(one).collect())
        };
        let is_counted = |arg: &&Arg| matches!(arg.get_action(), ArgAction::Count);
        let flags = self.command.get_arguments();
        Vocabulary {
            flags: flags
                .filter(|arg| !is_counted(arg))
                .filter_map(given)
                .flatten()
                .collect(),
            command: with_values(self.command.clone()),
            known,
        }
    }
}

impl Vocabulary {
    /// Parses names and values; ignores the names in `own`, which the caller handles itself.
    ///
    /// # Errors
    ///
    /// A usage error for an unknown name, which lists the known ones; for a value that the option
    /// rejects; and for an option that is given twice.
    pub(crate) fn describe(
        &self,
        options: &BTreeMap<String, String>,
        own: &[&str],
    ) -> Result<DescribedCache, cachefs::Error> {
        let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, value) in options
            .iter()
            .filter(|(name, _)| !own.contains(&name.as_str()))
        {
            let (name, kind) =
                find_setting(&self.known, name).ok_or_else(|| self.unknown(name, own))?;
            let several = match kind.is_list {
                true => split_list(value),
                false if kind.is_switch && value.is_empty() => vec!["true".to_owned()],
                false => vec![value.clone()],
            };
            for value in several.iter().filter(|_| !kind.is_switch) {
                kind.check(name, value).map_err(config_error)?;
            }
            if values.insert(name, several).is_some() {
                return Err(cachefs::Error::usage(
                    format!("the option `{name}` is set twice"),
                    "keep one of them",
                ));
            }
        }
        let [restore, save] = COMMANDS;
        let restored = self.matches(restore, &values)?;
        let saved = self.matches(save, &values)?;
        let mut said = |name: &str| values.remove(name).unwrap_or_default();
        Ok(DescribedCache {
            key: said("key").into_iter().next(),
            restore_keys: said("restore-key"),
            global: parse_matches(&restored)?,
            common: parse_matches(subcommand_matches(&restored))?,
            restore: parse_matches(subcommand_matches(&restored))?,
            save: parse_matches(subcommand_matches(&saved))?,
        })
    }

    /// The global options from the command line, as flags for another process.
    pub(crate) fn flags(&self) -> Vec<String> {
        let flags = self.flags.iter();
        let mut flags: Vec<String> = flags
            .map(|(name, value)| match value {
                Some(value) => format!("--{name}={}", value.to_string_lossy()),
                None => format!("--{name}"),
            })
            .collect();
        flags.sort();
        flags
    }

    fn unknown(&self, name: &str, own: &[&str]) -> cachefs::Error {
        let mut known = proposed_names(&self.known);
        known.extend(own.iter().map(|own| (*own).to_owned()));
        known.sort();
        let list = format!("the options are {}", known.join(", "));
        let hint = match nearest_name(name, &known) {
            Some(nearest) => format!("did you mean `{nearest}`? {list}"),
            None => list,
        };
        cachefs::Error::usage(format!("unknown option `{name}`"), hint)
    }

    /// Parses a command line made of the flags of this process and these options.
    fn matches(
        &self,
        command: &str,
        values: &BTreeMap<&str, Vec<String>>,
    ) -> Result<ArgMatches, cachefs::Error> {
        let own = self.command.find_subcommand(command);
        let args = || {
            self.command
                .get_arguments()
                .chain(own.into_iter().flat_map(Command::get_arguments))
        };
        let has = |name: &str| args().any(|arg| arg.get_long() == Some(name));
        // `--key`, `--path` and `--layer` require each other on the command line, but here the
        // caller describes the cache.
        let is_about_how =
            |name: &str| has(name) && !super::setting_names::OF_A_CACHE.contains(&name);
        let flag = |name: &str, value: Option<&OsStr>| {
            let mut flag = OsString::from(format!("--{name}"));
            if let Some(value) = value {
                flag.push("=");
                flag.push(value);
            }
            flag
        };
        let mut argv = vec![OsString::from("cachefs"), command.into()];
        let flags = self.flags.iter();
        argv.extend(
            flags
                .filter(|(name, _)| !values.contains_key(name.as_str()))
                .map(|(name, value)| flag(name, value.as_deref())),
        );
        for (name, values) in values.iter().filter(|(name, _)| is_about_how(name)) {
            argv.extend(values.iter().map(|value| flag(name, Some(value.as_ref()))));
        }
        self.command
            .clone()
            .try_get_matches_from(argv)
            .map_err(|error| not_accepted(&error))
    }
}

/// Makes switches accept `true` and `false`, so that a value can also turn one off.
fn with_values(command: Command) -> Command {
    command
        .mut_args(|arg| match arg.get_action() {
            ArgAction::SetTrue => {
                let arg = match arg.get_default_values().is_empty() {
                    true => arg.default_value("false"),
                    false => arg,
                };
                arg.action(ArgAction::Set)
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .value_parser(ValueParser::new(clap::builder::BoolishValueParser::new()))
            }
            _ => arg,
        })
        .mut_subcommands(with_values)
}

/// Splits a list at commas and white space.
fn split_list(value: &str) -> Vec<String> {
    value
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
        .collect()
}

fn subcommand_matches(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, matches)| matches)
}

fn parse_matches<T: FromArgMatches>(matches: &ArgMatches) -> Result<T, cachefs::Error> {
    T::from_arg_matches(matches).map_err(|error| not_accepted(&error))
}

/// Formats an error of the parser on one line.
fn not_accepted(error: &clap::Error) -> cachefs::Error {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    cachefs::Error::usage(
        first.trim_start_matches("error: ").to_owned(),
        "`cachefs help restore` and `cachefs help save` explain the options",
    )
}

fn config_error(problem: ConfigProblem) -> cachefs::Error {
    match problem {
        ConfigProblem::Value { message, hint } => cachefs::Error::usage(message, hint),
        other => cachefs::Error::usage(other.to_string(), "correct the value"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_arguments;
    use crate::hints::word_hint;

    fn vocabulary(args: &[&str]) -> Vocabulary {
        let args = ["cachefs", "--no-config"].iter().chain(args);
        let (_, config) =
            parse_arguments::<crate::args::Cli>(args.map(OsString::from).collect()).unwrap();
        config.vocabulary()
    }

    fn options(text: &[(&str, &str)]) -> BTreeMap<String, String> {
        text.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn refused(text: &[(&str, &str)]) -> (String, String) {
        let error = vocabulary(&["stats"])
            .describe(&options(text), &["workspace"])
            .unwrap_err();
        (
            error.to_string(),
            error.hint().as_ref().map(word_hint).unwrap_or_default(),
        )
    }

    #[test]
    fn options_are_settings_and_win_over_flags() {
        let words = vocabulary(&[
            "stats",
            "--remote",
            "file:///a",
            "--timeout",
            "7s",
            "--strict-errors",
        ]);
        let described = words
            .describe(
                &options(&[
                    ("key", "m2-1"),
                    ("restore-keys", "m2-main-, m2-"),
                    ("remote", "file:///b"),
                    ("policy", "pull"),
                    ("ttl", "14d"),
                    ("override", ""),
                    ("strict-errors", "false"),
                    ("workspace", "/w"),
                ]),
                &["workspace"],
            )
            .unwrap();
        assert_eq!(
            words.flags(),
            [
                "--no-config",
                "--remote=file:///a",
                "--strict-errors",
                "--timeout=7s"
            ]
        );
        assert_eq!(described.key.as_deref(), Some("m2-1"));
        assert_eq!(described.restore_keys, ["m2-main-", "m2-"]);
        assert_eq!(described.global.remote.remote.as_deref(), Some("file:///b"));
        assert_eq!(
            described.global.timeout,
            Some(std::time::Duration::from_secs(7))
        );
        assert!(!described.global.strict_errors);
        assert_eq!(described.common.no_save(), Some("the policy is pull"));
        assert!(described.save.ttl.is_some() && described.save.replace);
        assert!(!described.restore.fail_on_cache_miss);
    }

    #[test]
    fn what_is_not_an_option_is_refused_with_the_list() {
        let (message, hint) = refused(&[("restor-keys", "x")]);
        assert_eq!(message, "unknown option `restor-keys`");
        assert!(
            hint.starts_with("did you mean `restore-keys`? the options are "),
            "{hint}"
        );
        assert!(
            hint.contains(" workspace") && hint.contains("fallback-scopes"),
            "{hint}"
        );
        for of_none in ["store", "dry-run", "layer", "path", "cache-limit", "config"] {
            refused(&[(of_none, "x")]);
        }
        let (message, hint) = refused(&[("policy", "both")]);
        assert_eq!(message, "invalid value `both` for `policy`");
        assert!(hint.contains("pull-push"), "{hint}");
        refused(&[("ttl", "soon")]);
        refused(&[("read-only", "perhaps")]);
        let (message, _) = refused(&[("restore-key", "a"), ("restore-keys", "b")]);
        assert_eq!(message, "the option `restore-key` is set twice");
    }
}
