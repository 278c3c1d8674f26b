//! The search of a workspace for files that mark projects.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cachefs::StoreDir;
use globset::GlobSet;
use ignore::WalkBuilder;

/// How many directories deep the search goes.
const DEPTH: usize = 12;
/// How many files and directories it looks at.
pub(super) const ENTRIES: usize = 200_000;

/// Directories that are never entered: they contain files that tools fetched or built, and it would
/// be taken for projects of the user.
pub(super) const CLOSED: &[&str] = &[
    ".build",
    ".bundle",
    ".git",
    ".gradle",
    ".hg",
    ".nox",
    ".pnpm-store",
    ".stack-work",
    ".svn",
    ".terraform",
    ".tox",
    ".venv",
    ".yarn",
    "Pods",
    "__pycache__",
    "_build",
    "bower_components",
    "dist-newstyle",
    "node_modules",
    "site-packages",
    "target",
    "vendor",
    "venv",
];

/// Files that mark a directory as made by a tool.
const SEALS: &[&str] = &["CACHEDIR.TAG", "pyvenv.cfg"];

/// The files of a workspace that any row of the table may care for.
#[derive(Debug, Default)]
pub(crate) struct WorkspaceTree {
    /// The workspace, absolute.
    pub(super) root: PathBuf,
    /// Paths relative to it, in the order of their bytes.
    pub(super) files: BTreeSet<Vec<u8>>,
    /// Whether the search ended before it had seen everything.
    pub(super) cut_short: bool,
}

impl WorkspaceTree {
    /// Searches a workspace.
    ///
    /// Files that the repository ignores are not part of keys: they may exist after a
    /// build and not before. Links are not followed, and unreadable directories are skipped.
    ///
    /// `wanted` matches the names of files that a tool looks for.
    pub(crate) fn scan(root: &Path, wanted: &GlobSet) -> Self {
        Self::scan_at_most(root, wanted, ENTRIES)
    }

    pub(super) fn scan_at_most(root: &Path, wanted: &GlobSet, limit: usize) -> Self {
        let mut tree = Self {
            root: root.to_owned(),
            ..Self::default()
        };
        let mut walk = WalkBuilder::new(root);
        walk.hidden(false)
            .ignore(false)
            .git_global(false)
            .git_exclude(false)
            .require_git(false)
            .max_depth(Some(DEPTH))
            .filter_entry(|entry| {
                let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
                !(is_dir && entry.depth() > 0 && is_closed(entry.path()))
            });
        for (seen, entry) in walk.build().flatten().enumerate() {
            if seen > limit {
                tree.cut_short = true;
                break;
            }
            let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
            if !is_file || !wanted.is_match(entry.file_name()) {
                continue;
            }
            if let Some(path) = entry.path().strip_prefix(root).ok().and_then(Path::to_str)
                && can_be_quoted(path)
            {
                tree.files.insert(path.as_bytes().to_vec());
            }
        }
        tree
    }

    /// Whether the search found this file.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.files.contains(path.as_os_str().as_encoded_bytes())
    }

    /// The files found, in the order of their bytes.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files
            .iter()
            .filter_map(|path| std::str::from_utf8(path).ok())
            .map(Path::new)
    }
}

/// Whether a path can stand in a key's template, and beside patterns.
fn can_be_quoted(path: &str) -> bool {
    !path.contains(['"', '\'', '\\', '*', '?', '[', ']', '{', '}'])
        && !path.chars().any(char::is_control)
}

fn is_closed(dir: &Path) -> bool {
    let name = dir.file_name().unwrap_or_default();
    CLOSED.iter().any(|closed| name == *closed)
        || SEALS.iter().any(|seal| dir.join(seal).is_file())
        || StoreDir::is_at(dir)
        // A common name, which only Elixir uses for fetched packages.
        || (name == "deps" && dir.with_file_name("mix.exs").is_file())
}
