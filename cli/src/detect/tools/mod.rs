//! The table of tools, `tools.toml`, and the code for rules that a table cannot express.
//!
//! To add a tool, add it to the table: its first comment describes the fields.

#[cfg(test)]
mod check;
mod hooks;
mod read;

use std::sync::LazyLock;

use globset::GlobSet;

use super::pattern_set::set_of;
use super::tool::Tool;

pub(super) use hooks::{ConditionHook, PathHook, condition_hook, path_hook};

const TABLE: &str = include_str!("tools.toml");

/// Every tool, in the order of the output.
pub(super) static TOOLS: LazyLock<Vec<Tool>> =
    LazyLock::new(|| read::read_tools(TABLE).expect("a unit test reads this constant"));

/// The names of all files that any tool looks for.
pub(super) fn marker_names() -> GlobSet {
    names_of(&TOOLS)
}

fn names_of(tools: &[Tool]) -> GlobSet {
    let patterns = tools.iter().flat_map(|tool| {
        let lists = [&tool.locks, &tool.manifests, &tool.key_files];
        lists.into_iter().flatten()
    });
    let name = |pattern: &String| pattern.rsplit('/').next().unwrap_or(pattern).to_owned();
    set_of(patterns.map(name))
}
