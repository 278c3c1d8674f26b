//! Settings and caches from files, and their precedence.
//!
//! A setting of a file is an option of the command line with the same name: it becomes the option's
//! default before the command line is parsed. So flags have precedence over the environment, and
//! the environment over files; the same code checks all values, and clap reports their origins. An
//! option that is added to the commands is a setting automatically.
//!
//! Among files, the nearest has precedence: the project's file over the user's, and that over the
//! system's. The project's file also describes caches, each as a set of options of its own.

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
