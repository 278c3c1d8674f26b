//! Settings and caches from files, and their precedence.
//!
//! A setting of a file is a command-line option with the same name: it becomes the option's default
//! before we parse the command line. So flags override the environment, and the environment
//! overrides files. The same code checks all values, and clap reports their origins. A new option
//! of a command is automatically a setting.
//!
//! Among files, the nearest one wins: the project's file overrides the user's, which overrides the
//! system's. The project's file also describes caches, each as its own set of options.

mod cache_attributes;
mod error;
mod file;
mod file_setting;
mod find;
mod load;
mod resolve;
mod setting_names;
mod trusted_settings;
mod value_origin;

#[cfg(test)]
mod tests;

#[cfg(any(feature = "volumes", feature = "hook"))]
pub(crate) use cache_attributes::{DescribedCache, Vocabulary};
pub(crate) use error::ConfigError;
pub(crate) use find::ConfigLevel;
pub(crate) use load::{CommandLine, LoadedConfig, parse_arguments};
pub(crate) use resolve::Selection;
pub(crate) use value_origin::{Origin, SettingValue};
