//! Settings and caches from files, and which of all that was said counts.
//!
//! A setting of a file is an option of the command line under the same name: what a file says
//! becomes the option's default before the command line is parsed. So flags win over the
//! environment, the environment wins over files, types are checked by the same code, and clap
//! tells where a value came from. An option that is added to the commands is a setting at once.
//!
//! Among files the nearest wins: the system's, then the user's, then the project's. The
//! project's also describes caches, each as a set of options of its own.

mod described;
mod error;
mod file;
mod find;
mod known;
mod load;
mod origin;
mod resolve;
mod trust;

#[cfg(test)]
mod tests;

pub(crate) use described::{DescribedCache, Vocabulary};
pub(crate) use error::ConfigError;
pub(crate) use find::ConfigLevel;
pub(crate) use load::{CommandLine, LoadedConfig, parse_arguments};
pub(crate) use origin::{Origin, SettingValue};
pub(crate) use resolve::Selection;
