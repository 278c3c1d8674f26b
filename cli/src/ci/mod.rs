//! Facts about the build from the CI system, for all commands.
//!
//! [`systems`] is one table of systems, facts and their sources. A variable `CACHEFS_<FACT>`, for
//! example `CACHEFS_BRANCH`, overrides the system's own, so that a system outside of the table, or
//! a build without one, can provide the same facts. [`Ci`] looks facts up in an environment;
//! [`scope`] derives the scopes of the build.
//!
//! For a pull request, the branch is its source branch.

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

/// The environment of this process. We skip variables that are not UTF-8, because they cannot be
/// part of any name here.
pub(crate) fn process_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
