//! Keeps secrets out of a save.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::batch_part::BatchPart;
use super::tree::{FileTree, NodeKind};
use crate::secrets::{self, Scanner, SecretFinding, SecretHandling, SecretPolicy, is_place};
use crate::stack::Stack;

/// How a save looks for secrets.
#[derive(Clone, Copy)]
pub(super) struct Guard<'a> {
    /// The search and its policy.
    pub scanner: &'a Scanner,
    /// The path that is saved, as users see it: credential files are recognised by its names.
    pub root: &'a Path,
    /// The stack below the tree.
    pub below: &'a Stack,
}

/// A guard at work on one tree.
pub(super) struct Watch<'a> {
    guard: &'a Guard<'a>,
    tree: &'a FileTree,
    /// The further names of files that have several.
    links: HashMap<usize, Vec<usize>>,
}

/// Whether a file's place alone makes it worth a look, even if it did not change: a directory above may
/// have got a new name.
pub(super) fn is_place_in(tree: &FileTree, root: &Path, node: usize) -> bool {
    let (directory, name) = names_of(tree, root, node);
    is_place(directory, name)
}

/// The name of a node, and that of the directory that holds it.
fn names_of<'a>(tree: &'a FileTree, root: &'a Path, node: usize) -> (&'a [u8], &'a [u8]) {
    let parent = tree.nodes[node].parent;
    let directory = match parent {
        0 => root.file_name().unwrap_or_default().as_bytes(),
        _ => &tree.nodes[parent].name,
    };
    (directory, &tree.nodes[node].name)
}

impl<'a> Watch<'a> {
    pub(super) fn new(guard: &'a Guard<'a>, tree: &'a FileTree) -> Self {
        let mut links: HashMap<usize, Vec<usize>> = HashMap::new();
        for (index, node) in tree.nodes.iter().enumerate() {
            if let Some(first) = node.link {
                links.entry(first).or_default().push(index);
            }
        }
        Self { guard, tree, links }
    }

    /// How many bytes around a part of a large file are to be read.
    pub(super) fn margin(&self) -> usize {
        self.guard.scanner.margin()
    }

    /// Searches a part of a file. `content` is its bytes without holes, and `edges` the bytes
    /// before and after it, up to [`Watch::margin`].
    pub(super) fn inspect(
        &self,
        part: &BatchPart,
        content: &[u8],
        edges: &[Vec<u8>; 2],
    ) -> Vec<SecretFinding> {
        let node = part.node;
        let NodeKind::File { size, .. } = self.tree.nodes[node].kind else {
            return Vec::new();
        };
        let mut names = vec![names_of(self.tree, self.guard.root, node)];
        let links = self.links.get(&node).into_iter().flatten();
        names.extend(links.map(|&link| names_of(self.tree, self.guard.root, link)));
        let hits = self.guard.scanner.search(&secrets::SearchWindow {
            names: &names,
            content,
            whole: part.range == (0..size),
            edges: [&edges[0], &edges[1]],
        });
        if hits.is_empty() {
            return Vec::new();
        }
        let bytes = self.tree.path(node);
        let path = PathBuf::from(OsStr::from_bytes(&bytes));
        let allowed = self.guard.scanner.is_allowed(&path);
        // An unreadable stack fails the save elsewhere.
        let replaces = matches!(self.guard.below.find(&bytes), Ok(Some(_)));
        let fate = |hit: &secrets::SecretMatch| match self.guard.scanner.policy() {
            SecretPolicy::Allow | SecretPolicy::Off => SecretHandling::Saved,
            SecretPolicy::Credentials if !hit.certain => SecretHandling::Saved,
            // A value named by --secret-env must never be saved, even in an allowed path.
            _ if allowed && hit.variable.is_none() => SecretHandling::Allowed,
            SecretPolicy::Credentials | SecretPolicy::Skip => SecretHandling::LeftOut,
            SecretPolicy::Fail => SecretHandling::Refused,
        };
        hits.into_iter()
            .map(|hit| SecretFinding {
                path: path.clone(),
                line: hit.line,
                fate: fate(&hit),
                kind: hit.kind,
                variable: hit.variable,
                certain: hit.certain,
                replaces,
            })
            .collect()
    }
}
