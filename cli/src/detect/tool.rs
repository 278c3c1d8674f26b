//! A tool of the table, and the caches that it has in a project.

use serde::Deserialize;

use super::condition::{Condition, any_holds};
use super::place::DetectedDirectory;
use super::site::Site;
use super::source::{Source, first_found};

/// A tool that caches: one `[[tool]]` of `tools.toml`, which describes the fields.
///
/// A directory is a project of the tool if it contains one of `locks`, or if it contains one of
/// `manifests` and neither it nor a parent directory is a project already: a build with many
/// modules is one project.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Tool {
    pub(super) name: String,
    pub(super) title: String,
    /// File names, without patterns.
    #[serde(default)]
    pub(super) locks: Vec<String>,
    /// Patterns of file names.
    #[serde(default)]
    pub(super) manifests: Vec<String>,
    /// Patterns of paths in the project.
    #[serde(default)]
    pub(super) key_files: Vec<String>,
    #[serde(default)]
    pub(super) when: Vec<Condition>,
    #[serde(default)]
    pub(super) java_options: Vec<String>,
    #[serde(default)]
    pub(super) base: Vec<Source>,
    #[serde(rename = "cache")]
    pub(super) caches: Vec<ToolCache>,
}

/// A cache of a tool: one `[[tool.cache]]`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ToolCache {
    /// Empty for the main cache.
    #[serde(default)]
    pub(super) name: String,
    pub(super) path: Vec<Source>,
    #[serde(default)]
    pub(super) when: Vec<Condition>,
    #[serde(default)]
    pub(super) compiled: bool,
    /// Replaces all key files of the tool.
    pub(super) key_files: Option<Vec<String>>,
    pub(super) note: Option<String>,
    pub(super) note_if: Option<ConditionalNote>,
    pub(super) optional: Option<String>,
}

/// A note that only some projects need.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConditionalNote {
    pub(super) when: Vec<Condition>,
    pub(super) text: String,
}

/// A cache of one project.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(super) cache: &'static ToolCache,
    pub(super) place: DetectedDirectory,
    /// Shown to the user.
    pub(super) notes: Vec<&'static str>,
}

impl Tool {
    /// Whether a directory with the tool's files is one of its projects.
    pub(super) fn is_project(&self, site: &Site<'_>) -> bool {
        any_holds(&self.when, site)
    }

    /// The caches of one project. Projects with the same path share the cache.
    pub(super) fn caches(&'static self, site: &Site<'_>) -> Vec<Draft> {
        self.caches
            .iter()
            .filter_map(|cache| cache.draft(site))
            .collect()
    }
}

impl ToolCache {
    fn draft(&'static self, site: &Site<'_>) -> Option<Draft> {
        if !any_holds(&self.when, site) {
            return None;
        }
        let (place, source) = first_found(&self.path, site)?;
        let conditional = self
            .note_if
            .as_ref()
            .filter(|note| any_holds(&note.when, site))
            .map(|note| &note.text);
        let notes = [self.note.as_ref(), conditional, source.note.as_ref()];
        Some(Draft {
            cache: self,
            place,
            notes: notes.into_iter().flatten().map(String::as_str).collect(),
        })
    }
}
