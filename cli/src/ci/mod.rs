//! What the CI system says about a build, for all commands.
//!
//! [`systems`] is one table of systems, facts and where each is told. A variable `CACHEFS_<FACT>`
//! (`CACHEFS_BRANCH`, ...) comes before every system's own, so that a system that is not listed,
//! or a build outside of any, can say the same. [`Ci`] answers for one environment; [`scope`]
//! derives from it whose keys the build's are.
//!
//! On a pull request the branch is the one that is proposed, not the one it is proposed to.

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
