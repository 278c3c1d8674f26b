//! Restores and saves caches, one or many in parallel.
//!
//! A [`ResolvedCache`] comes from flags or from a file; this module does not distinguish them.
//! [`restore_all`] and [`save_all`] process any number of them, print each result as soon as it is
//! known, and return one [`RestoredDirectory`] or [`SavedDirectory`] per directory of each cache.
//! These have all details: the keys with their parts, and the library's report or the error. Both
//! functions have an overall deadline ([`deadline`]).

mod cache;
mod ci_report;
mod deadline;
mod jobs;
mod key_inputs;
mod operation;
mod options;
mod output_prefix;
mod parallel;
mod restore;
mod restore_output;
mod result_json;
mod result_summary;
mod results;
mod save;
mod save_output;
mod secrets;
mod secrets_output;

pub(crate) use cache::{CacheLayer, ResolvedCache};
pub(crate) use ci_report::key_query;
pub(crate) use options::{CommonOptions, ModeArg, RestoreHow, SaveHow};
#[cfg(any(feature = "volumes", feature = "hook"))]
pub(crate) use options::{PolicyArg, SecretsArg};
#[cfg(feature = "harness")]
pub(crate) use restore::restore_or_fill;
pub(crate) use restore::{restore_all, restore_around};
pub(crate) use result_json::{print_results, result_values};
pub(crate) use results::{RestoredDirectory, SavedDirectory};
pub(crate) use save::save_all;

use crate::exit;

/// The error for flags that describe a cache without a path.
pub(crate) fn no_path() -> cachefs::Error {
    cachefs::Error::usage(
        "--key needs --path",
        "add the directory of the cache, for example --path ~/.m2",
    )
}

/// The error for flags that describe a cache without a key.
pub(crate) fn no_key() -> cachefs::Error {
    cachefs::Error::usage(
        "--path needs --key",
        "add the key, for example --key 'm2-{{ checksum \"pom.xml\" }}'",
    )
}

/// The worst of several exit codes.
pub(crate) fn worst_code(codes: impl IntoIterator<Item = u8>) -> u8 {
    codes.into_iter().fold(exit::SUCCESS, exit::worse_code)
}
