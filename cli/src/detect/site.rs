//! A directory of the workspace, as the rows of the table look at it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::host::Host;
use super::place::{DetectedDirectory, Learnt};
use super::scan::WorkspaceTree;
use super::tool::Tool;

/// How much of a file is read to find a setting in it.
const READ_LIMIT: u64 = 1 << 20;

/// A directory that may be a project of a tool.
pub(crate) struct Site<'a> {
    pub(super) host: &'a Host<'a>,
    pub(super) tree: &'a WorkspaceTree,
    pub(super) tool: &'static Tool,
    /// Relative to the workspace; empty for the workspace itself.
    pub(super) dir: PathBuf,
}

impl Site<'_> {
    /// Whether the directory contains this file. Files that git ignores, and files that no tool
    /// looks for, do not count.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tree.has(&self.dir.join(name))
    }

    /// Whether this directory, or one above it in the workspace, holds one of these files.
    pub(super) fn has_above(&self, names: &[&str]) -> bool {
        self.dir
            .ancestors()
            .any(|dir| names.iter().any(|name| self.tree.has(&dir.join(name))))
    }

    /// The start of a file in the directory, as far as it is text.
    pub(super) fn read(&self, name: &str) -> Option<String> {
        read_start(&self.tree.root.join(&self.dir).join(name))
    }

    /// Whether a file in the directory, ignored by git or not, contains one of these words.
    pub(super) fn mentions(&self, name: &str, words: &[impl AsRef<str>]) -> bool {
        self.read(name)
            .is_some_and(|text| words.iter().any(|word| text.contains(word.as_ref())))
    }

    /// The directory that a setting names: in `file` of this directory or, the nearest first, of
    /// a parent directory in the workspace.
    pub(super) fn setting(
        &self,
        file: &str,
        names: &[impl AsRef<str>],
    ) -> Option<DetectedDirectory> {
        let mut dirs = self.dir.ancestors();
        dirs.find_map(|dir| self.setting_in(dir, file, names))
    }

    /// The directory that a setting names in `file` of this directory. Parent directories do not
    /// count.
    pub(super) fn own_setting(
        &self,
        file: &str,
        names: &[impl AsRef<str>],
    ) -> Option<DetectedDirectory> {
        self.setting_in(&self.dir, file, names)
    }

    fn setting_in(
        &self,
        dir: &Path,
        file: &str,
        names: &[impl AsRef<str>],
    ) -> Option<DetectedDirectory> {
        let base = self.tree.root.join(dir);
        let value = find_setting_line(&read_start(&base.join(file))?, names)?;
        let path = self.host.resolve(&base, &value)?;
        Some(DetectedDirectory::new(
            self.relative(path),
            Learnt::File(display_path(&dir.join(file))),
        ))
    }

    /// The directory that a setting in a file of the home names.
    pub(super) fn home_setting(
        &self,
        file: &str,
        names: &[impl AsRef<str>],
    ) -> Option<DetectedDirectory> {
        let text = read_start(&self.host.home.join(file))?;
        let value = find_setting_line(&text, names)?;
        let path = self.host.resolve(&self.host.home, &value)?;
        Some(DetectedDirectory::new(
            path,
            Learnt::File(format!("~/{file}")),
        ))
    }

    /// A directory of the project, at its place.
    pub(super) fn own(&self, below: &str) -> DetectedDirectory {
        DetectedDirectory::new(self.dir.join(below), Learnt::Default)
    }

    /// A directory that a file of the project names, in the project's own terms.
    pub(super) fn named(&self, file: &str, value: &str) -> Option<DetectedDirectory> {
        let base = self.tree.root.join(&self.dir);
        let path = self.host.resolve(&base, value)?;
        Some(DetectedDirectory::new(
            self.relative(path),
            Learnt::File(display_path(&self.dir.join(file))),
        ))
    }

    /// Makes a path in the workspace relative to it.
    fn relative(&self, path: PathBuf) -> PathBuf {
        match path.strip_prefix(&self.tree.root) {
            Ok(inside) if !inside.as_os_str().is_empty() => inside.to_owned(),
            _ => path,
        }
    }
}

fn display_path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The start of a file, as far as it is text.
pub(super) fn read_start(path: &Path) -> Option<String> {
    if !path.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(READ_LIMIT).read_to_end(&mut bytes))
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The value of the first line that sets one of `names`, in any of the spellings that the
/// configuration files of tools have: `name = value`, `name: value`, `name value`, quoted or not.
pub(super) fn find_setting_line(text: &str, names: &[impl AsRef<str>]) -> Option<String> {
    text.lines().find_map(|line| {
        let line = line.trim().trim_start_matches(['"', '\'']);
        let rest = names
            .iter()
            .find_map(|name| line.strip_prefix(name.as_ref()))?;
        let rest = rest.trim_start_matches(['"', '\'']);
        if !rest.starts_with(['=', ':', ' ', '\t']) {
            return None;
        }
        let value = rest.trim_start_matches(['=', ':', ' ', '\t']);
        let value = match value.chars().next()? {
            quote @ ('"' | '\'') => value[1..].split(quote).next()?,
            '#' | ';' => return None,
            _ => value
                .split(" #")
                .next()?
                .trim_end_matches([',', ';'])
                .trim(),
        };
        (!value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_in_the_spellings_of_tools() {
        let found = |text, name| find_setting_line(text, &[name]);
        assert_eq!(found("a=1\ncache = /c\n", "cache"), Some("/c".into()));
        assert_eq!(
            found("cacheFolder: \"./x y\"", "cacheFolder"),
            Some("./x y".into())
        );
        assert_eq!(
            found("cache-dir = '/c' # here", "cache-dir"),
            Some("/c".into())
        );
        assert_eq!(
            found("cache-folder \"/c\"", "cache-folder"),
            Some("/c".into())
        );
        assert_eq!(found("# cache=/c\ncache-min=3", "cache"), None);
        assert_eq!(found("cache=", "cache"), None);
    }
}
