//! The CI system's facts about a build, for all commands.
//!
//! [`systems`] is one table of systems, facts and their sources. A variable `CACHEFS_<FACT>`
//! (`CACHEFS_BRANCH`, ...) has precedence over every system's own, so that a system that is not
//! listed, or a build outside of any, can provide the same facts. [`Ci`] answers for one
//! environment; [`scope`] derives the scopes of the build.
//!
//! On a pull request, the branch is the proposed one, not its target.

mod event;
mod fact;
mod git;
mod report;
mod scope;
mod systems;

#[cfg(test)]
mod tests;

pub(crate) use fact::{BuildFact, variable_names};
pub(crate) use report::Ci;
pub(crate) use scope::Scopes;

use std::collections::BTreeMap;

/// The environment of this process. A variable that is not UTF-8 can be part of no name here, so
/// it counts as not set.
pub(crate) fn process_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
