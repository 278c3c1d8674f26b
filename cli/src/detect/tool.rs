//! A row of the table: what marks a project, what its cache depends on, where the cache is.

use super::place::DetectedDirectory;
use super::site::Site;

/// A tool that caches.
///
/// A directory is a project of the tool when it holds one of `locks`, or when it holds one of
/// `manifests` and neither it nor a directory above is a project already: a build with many
/// modules is one project.
pub(crate) struct Tool {
    /// In keys and on command lines. None is the start of another one and a `-`, because keys
    /// that start with `NAME-` stand in for each other.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    /// Names of files that pin what is fetched; where there is one, the key depends on it and
    /// not on the manifests.
    pub(crate) locks: &'static [&'static str],
    /// Names, as patterns, of files that say what to fetch.
    pub(crate) manifests: &'static [&'static str],
    /// What the key depends on besides, as patterns of paths in the project.
    pub(crate) inputs: &'static [&'static str],
    /// Whether a directory with such files is this tool's project.
    pub(crate) is_project: fn(&Site<'_>) -> bool,
    /// The caches of one project. Projects that name the same paths share the cache.
    pub(crate) caches: fn(&Site<'_>) -> Vec<Draft>,
}

/// What most tools need for [`Tool::is_project`]: the files are enough.
pub(super) fn any_project(_: &Site<'_>) -> bool {
    true
}

/// A cache of one project.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What it is among the tool's caches; empty for the main one.
    pub(super) what: &'static str,
    pub(super) place: DetectedDirectory,
    /// Whether it works only where the operating system and the processor are the same.
    pub(super) compiled: bool,
    /// What the key depends on instead of the tool's files.
    pub(super) inputs: Option<&'static [&'static str]>,
    /// What the user should know.
    pub(super) notes: Vec<&'static str>,
    /// Why it is left alone unless the user asks for it.
    pub(super) optional: Option<&'static str>,
}

impl Draft {
    pub(super) fn new(what: &'static str, place: DetectedDirectory) -> Self {
        Self {
            what,
            place,
            compiled: false,
            inputs: None,
            notes: Vec::new(),
            optional: None,
        }
    }

    /// The tool's main cache.
    pub(super) fn main(place: DetectedDirectory) -> Self {
        Self::new("", place)
    }

    pub(super) fn compiled(mut self) -> Self {
        self.compiled = true;
        self
    }

    pub(super) fn of(mut self, inputs: &'static [&'static str]) -> Self {
        self.inputs = Some(inputs);
        self
    }

    pub(super) fn note(mut self, text: &'static str) -> Self {
        self.notes.push(text);
        self
    }

    pub(super) fn optional(mut self, why: &'static str) -> Self {
        self.optional = Some(why);
        self
    }
}
