//! The origins of values.

use std::collections::BTreeMap;
use std::fmt;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::error::FilePosition;
use super::file::CacheTable;
use super::file_setting::FileSetting;
use super::load::{LoadedConfig, with_defaults};
use super::setting_names::{COMMANDS, Known, OF_A_CACHE};
use crate::caches::CacheLayer;

/// The origin of a value, in increasing order of precedence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The default of the option.
    Default,
    /// A configuration file.
    File(FilePosition),
    /// An environment variable.
    Environment(String),
    /// A flag of this command.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => place.fmt(f),
            Self::Environment(name) => f.write_str(name),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// A setting with its values and their origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SettingValue {
    /// The setting's name.
    pub(crate) name: String,
    /// Its values; empty if it is not set and has no default.
    pub(crate) values: Vec<String>,
    /// The origin of the values.
    pub(crate) origin: Origin,
}

impl LoadedConfig {
    /// Every setting, sorted by name.
    pub(crate) fn values(&self) -> Vec<SettingValue> {
        let known = Known::of(&self.command).settings;
        let mut values = BTreeMap::new();
        for value in values_of(&self.command, &self.matches, &self.settings) {
            values.insert(value.name.clone(), value);
        }
        for command in COMMANDS {
            for value in command_values(&self.command, command, &self.settings) {
                values.entry(value.name.clone()).or_insert(value);
            }
        }
        values.retain(|name, _| known.contains_key(name));
        values.into_values().collect()
    }

    /// The caches of the project's file, in its order, with the values that override the file's.
    pub(crate) fn caches_said(&self) -> Vec<Said> {
        self.caches.iter().map(|table| self.said(table)).collect()
    }

    fn said(&self, table: &CacheTable) -> Said {
        let command = with_defaults(self.command.clone(), &table.settings);
        let as_said = |(name, setting): (&String, &FileSetting)| SettingValue {
            name: name.clone(),
            values: setting.values.clone(),
            origin: Origin::File(setting.place.clone()),
        };
        let mut values: Vec<SettingValue> = table.settings.iter().map(as_said).collect();
        for name in COMMANDS {
            for counts in command_values(&command, name, &table.settings) {
                if OF_A_CACHE.contains(&counts.name.as_str()) {
                    continue;
                }
                if let Some(value) = values.iter_mut().find(|value| value.name == counts.name) {
                    *value = counts;
                }
            }
        }
        Said {
            name: table.name.clone(),
            place: table.place.clone(),
            values,
            layers: table.layers.clone(),
        }
    }
}

/// A cache as described by a file.
#[derive(Debug)]
pub(crate) struct Said {
    /// The cache's name.
    pub(crate) name: String,
    /// The position of its table.
    pub(crate) place: FilePosition,
    /// Its settings.
    pub(crate) values: Vec<SettingValue>,
    /// Its layers with their positions, bottom first.
    pub(crate) layers: Vec<(CacheLayer, FilePosition)>,
}

/// The values of a command's own options without any flags.
fn command_values(
    command: &Command,
    name: &str,
    settings: &BTreeMap<String, FileSetting>,
) -> Vec<SettingValue> {
    let matches = command.clone().try_get_matches_from(["cachefs", name]);
    let (Ok(matches), Some(command)) = (matches, command.find_subcommand(name)) else {
        return Vec::new();
    };
    let matches = matches.subcommand_matches(name);
    matches.map_or_else(Vec::new, |matches| values_of(command, matches, settings))
}

fn values_of(
    command: &Command,
    matches: &ArgMatches,
    settings: &BTreeMap<String, FileSetting>,
) -> Vec<SettingValue> {
    let value = |arg: &Arg| {
        let name = arg.get_long()?;
        let id = arg.get_id().as_str();
        let values = matches.try_get_raw(id).ok().flatten();
        let values = values.map(|values| {
            values
                .map(|value| value.to_string_lossy().into_owned())
                .collect()
        });
        let origin = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => Origin::Flag,
            Some(ValueSource::EnvVariable) => {
                let name = arg.get_env().unwrap_or_default();
                Origin::Environment(name.to_string_lossy().into_owned())
            }
            _ => match settings.get(name) {
                Some(setting) => Origin::File(setting.place.clone()),
                None => Origin::Default,
            },
        };
        Some(SettingValue {
            name: name.to_owned(),
            values: values.unwrap_or_default(),
            origin,
        })
    };
    command.get_arguments().filter_map(value).collect()
}
