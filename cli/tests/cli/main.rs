//! End-to-end tests: the real binary, real mounts, and remotes of both kinds.

// Marked as tests, so that their helpers may unwrap as tests do.
#[cfg(test)]
mod bad_input;
mod clouds;
#[cfg(test)]
mod config;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod csi;
#[cfg(test)]
mod detect;
#[cfg(test)]
mod exec;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod fidelity;
#[cfg(test)]
mod hard_links;
#[cfg(test)]
mod lost;
#[cfg(test)]
mod migrate;
#[cfg(test)]
mod mounts;
mod newer_format;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod output;
#[cfg(test)]
mod outputs;
#[cfg(test)]
mod owners;
#[cfg(test)]
mod paths;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod real_stores;
#[cfg(test)]
mod real_tools;
#[cfg(test)]
mod reported;
#[cfg(test)]
mod safety;
#[cfg(test)]
mod save;
#[cfg(test)]
mod saves_at_once;
#[cfg(test)]
mod scopes;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod serve;
#[cfg(test)]
mod support;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod trust;
#[cfg(test)]
mod unkillable;
#[cfg(test)]
mod unsaved;
#[cfg(test)]
mod volume_plugin;

#[cfg(test)]
mod working_directory;
