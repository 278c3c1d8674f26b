//! Detects the caches of a workspace: which tools it uses, where they keep their caches on this
//! machine, and the inputs of their keys.
//!
//! [`WorkspaceTree::scan`](scan::WorkspaceTree::scan) looks for files that mark projects;
//! [`detect_caches`] holds them against the [table of tools](tools), which names caches;
//! [`merge_projects`](merge::merge_projects) makes one of those that several projects share.
//! Nothing is written, no code of the workspace is run, and everything found before a build is
//! found after it, so that a save comes to the key of the restore.

mod ask;
mod caches;
mod choice;
mod condition;
mod host;
mod merge;
mod pattern_set;
mod place;
mod scan;
mod site;
mod source;
mod template;
mod tool;
mod tools;
mod written;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use globset::GlobSet;

pub(crate) use ask::{Ask, Installed, Nobody};
pub(crate) use caches::holds_something;
pub(crate) use choice::CacheChoice;
pub(crate) use host::Host;
pub(crate) use merge::DetectedCache;
pub(crate) use place::Learnt;
pub(crate) use scan::WorkspaceTree;
pub(crate) use written::config_text as written;

use pattern_set::set_of;
use site::Site;
use tool::{Draft, Tool};
use tools::TOOLS;

/// The result of a detection.
#[derive(Debug, Default)]
pub(crate) struct Detection {
    /// The caches, in the order of the table.
    pub(crate) caches: Vec<DetectedCache>,
    /// Notes about the search itself.
    pub(crate) notes: Vec<String>,
}

/// A project, and the caches that it uses.
struct Project {
    tool: &'static Tool,
    dir: PathBuf,
    drafts: Vec<Draft>,
}

/// Finds the caches of a workspace; `prefix` is put before every key.
pub(crate) fn detect_caches(tree: &WorkspaceTree, host: &Host<'_>, prefix: &str) -> Detection {
    // Tools are asked on threads of their own: some take a while to answer.
    let projects: Vec<Vec<Project>> = std::thread::scope(|scope| {
        let threads: Vec<_> = TOOLS
            .iter()
            .map(|tool| (tool, tool_sites(tool, tree, host)))
            .filter(|(_, sites)| !sites.is_empty())
            .map(|(tool, sites)| {
                scope.spawn(move || {
                    let project = |site: Site<'_>| Project {
                        tool,
                        drafts: tool.caches(&site),
                        dir: site.dir,
                    };
                    sites.into_iter().map(project).collect()
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        joined.collect()
    });
    let mut detection = merge::merge_projects(tree, host, projects.into_iter().flatten(), prefix);
    if tree.cut_short {
        detection.notes.push(format!(
            "only the first {} files and directories were scanned",
            scan::ENTRIES
        ));
    }
    detection
}

/// The name of a tool of the table.
pub(crate) fn is_tool(name: &str) -> bool {
    TOOLS.iter().any(|tool| tool.name == name)
}

/// The names of all tools.
pub(crate) fn tool_names() -> Vec<&'static str> {
    TOOLS.iter().map(|tool| tool.name.as_str()).collect()
}

/// The projects of a tool.
fn tool_sites<'a>(
    tool: &'static Tool,
    tree: &'a WorkspaceTree,
    host: &'a Host<'a>,
) -> Vec<Site<'a>> {
    let locks = set_of(tool.locks.iter().cloned());
    let manifests = set_of(tool.manifests.iter().cloned());
    let site = |dir: &Path| {
        let site = Site {
            host,
            tree,
            tool,
            dir: dir.to_owned(),
        };
        tool.is_project(&site).then_some(site)
    };
    let mut sites: Vec<Site<'_>> = matching_dirs(tree, &locks)
        .into_iter()
        .filter_map(site)
        .collect();
    for dir in matching_dirs(tree, &manifests) {
        if !sites.iter().any(|known| dir.starts_with(&known.dir)) {
            sites.extend(site(dir));
        }
    }
    sites.sort_by(|a, b| a.dir.cmp(&b.dir));
    sites
}

/// The directories of files whose names match, those above before those below.
fn matching_dirs<'a>(tree: &'a WorkspaceTree, names: &GlobSet) -> Vec<&'a Path> {
    let mut dirs: Vec<&Path> = tree
        .paths()
        .filter(|path| path.file_name().is_some_and(|name| names.is_match(name)))
        .filter_map(Path::parent)
        .collect();
    dirs.sort_by_key(|dir| (dir.components().count(), *dir));
    dirs.dedup();
    dirs
}
