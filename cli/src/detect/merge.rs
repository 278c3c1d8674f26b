//! From the caches of single projects to those of the workspace.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::host::Host;
use super::pattern_set::set_of;
use super::place::DetectedDirectory;
use super::scan::WorkspaceTree;
use super::tool::{Draft, Tool};
use super::{Detection, Project, template};

/// A cache of the workspace.
#[derive(Debug)]
pub(crate) struct DetectedCache {
    /// The name, unique in the workspace.
    pub(crate) name: String,
    pub(crate) tool: &'static str,
    pub(crate) title: &'static str,
    /// The directories, relative to the workspace, of the projects that share it; empty for the
    /// workspace itself.
    pub(crate) projects: Vec<PathBuf>,
    pub(crate) place: DetectedDirectory,
    /// The files that the key depends on, relative to the workspace, in the order of their bytes.
    pub(crate) inputs: Vec<PathBuf>,
    /// The template of the key, over these very files.
    pub(crate) key: String,
    /// The same key with patterns in place of files, where it may be written so: it then goes
    /// with files that are added.
    pub(crate) key_by_patterns: Option<String>,
    /// The prefix of keys that will do.
    pub(crate) restore_key: String,
    /// Notes for the user.
    pub(crate) notes: Vec<&'static str>,
    /// Why it is left alone unless the user asks for it.
    pub(crate) optional: Option<&'static str>,
}

/// Projects that name the same directory.
struct ProjectGroup {
    tool: &'static Tool,
    draft: Draft,
    dirs: Vec<PathBuf>,
    inputs: BTreeSet<Vec<u8>>,
    patterns: Vec<String>,
}

/// Makes one cache of those that several projects share, and gives names and keys.
pub(super) fn merge_projects(
    tree: &WorkspaceTree,
    host: &Host<'_>,
    projects: impl Iterator<Item = Project>,
    prefix: &str,
) -> Detection {
    let mut detection = Detection::default();
    let mut groups: Vec<ProjectGroup> = Vec::new();
    for project in projects {
        for draft in project.drafts {
            if !is_fit(&draft.place.path, tree, host) {
                detection.notes.push(format!(
                    "{} ({}) is not used as a cache of {}: it contains other files, too",
                    draft.place.path.display(),
                    draft.place.learnt.describe(),
                    project.tool.title,
                ));
                continue;
            }
            let patterns = key_patterns(project.tool, &draft, tree, &project.dir);
            let inputs = matching_files(tree, &project.dir, &patterns);
            let same = |group: &&mut ProjectGroup| {
                std::ptr::eq(group.tool, project.tool)
                    && std::ptr::eq(group.draft.cache, draft.cache)
                    && group.draft.place.path == draft.place.path
            };
            let patterns = patterns
                .iter()
                .map(|pattern| template::join_pattern(&project.dir, pattern));
            match groups.iter_mut().find(same) {
                Some(group) => {
                    group.inputs.extend(inputs);
                    group.patterns.extend(patterns);
                    group.dirs.push(project.dir.clone());
                }
                None => groups.push(ProjectGroup {
                    tool: project.tool,
                    draft,
                    dirs: vec![project.dir.clone()],
                    inputs: inputs.into_iter().collect(),
                    patterns: patterns.collect(),
                }),
            }
        }
    }
    let mut named: Vec<String> = Vec::new();
    for group in groups {
        let ident = cache_ident(&group, &named);
        named.push(ident.clone());
        detection.caches.push(into_detected(group, &ident, prefix));
    }
    detection
}

/// Whether a directory can be a cache: not the home, nor the workspace or a directory that contains
/// it.
fn is_fit(path: &Path, tree: &WorkspaceTree, host: &Host<'_>) -> bool {
    let path = tree.root.join(path);
    !tree.root.starts_with(&path) && !host.home.starts_with(&path)
}

/// The identity of a cache in the workspace: its tool, its purpose, and its project where
/// it belongs to a project below the root or another one has the name.
fn cache_ident(group: &ProjectGroup, taken: &[String]) -> String {
    let mut ident = group.tool.name.clone();
    if !group.draft.cache.name.is_empty() {
        ident.push('/');
        ident.push_str(&group.draft.cache.name);
    }
    let dir = group.dirs.first().map(|dir| dir.to_string_lossy());
    let is_own = group.draft.place.path.is_relative();
    match dir {
        Some(dir) if !dir.is_empty() && (is_own || taken.contains(&ident)) => {
            format!("{ident}@{dir}")
        }
        _ => ident,
    }
}

fn into_detected(group: ProjectGroup, ident: &str, prefix: &str) -> DetectedCache {
    let inputs: Vec<String> = group
        .inputs
        .iter()
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .collect();
    let start = template::template_start(prefix, ident, group.draft.cache.compiled);
    DetectedCache {
        name: ident.replace(['/', '@'], "-"),
        tool: &group.tool.name,
        title: &group.tool.title,
        key: template::by_files(&start, &inputs),
        key_by_patterns: template::by_patterns(&start, &inputs, group.patterns),
        restore_key: start,
        projects: group.dirs,
        inputs: inputs.into_iter().map(PathBuf::from).collect(),
        place: group.draft.place,
        notes: group.draft.notes,
        optional: group.draft.cache.optional.as_deref(),
    }
}

/// The inputs of a project's key, as patterns of paths in the project.
fn key_patterns(tool: &Tool, draft: &Draft, tree: &WorkspaceTree, dir: &Path) -> Vec<String> {
    if let Some(key_files) = &draft.cache.key_files {
        return key_files.clone();
    }
    let locks: Vec<String> = tool
        .locks
        .iter()
        .filter(|lock| tree.has(&dir.join(lock)))
        .cloned()
        .collect();
    let marks = if locks.is_empty() {
        tool.manifests
            .iter()
            .map(|manifest| format!("**/{manifest}"))
            .collect()
    } else {
        locks
    };
    let key_files = tool.key_files.iter().cloned();
    marks.into_iter().chain(key_files).collect()
}

/// The files of a project that match.
fn matching_files(tree: &WorkspaceTree, dir: &Path, patterns: &[String]) -> Vec<Vec<u8>> {
    let set = set_of(patterns.iter().cloned());
    tree.paths()
        .filter(|path| {
            path.strip_prefix(dir)
                .is_ok_and(|below| set.is_match(below))
        })
        .map(|path| path.as_os_str().as_encoded_bytes().to_vec())
        .collect()
}
