//! Tests of whole expansions; each has its own workspace.

mod faults;
mod files;
mod tenants;
mod variables;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::{ExpandedKey, KeyContext, KeyError, Reach, expand_template};

/// A workspace, an environment and the options of an expansion.
struct Bench {
    dir: tempfile::TempDir,
    env: BTreeMap<String, String>,
    allow_missing: bool,
    skip: Vec<PathBuf>,
}

impl Bench {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            env: BTreeMap::new(),
            allow_missing: false,
            skip: Vec::new(),
        }
    }

    fn workspace(&self) -> PathBuf {
        self.dir.path().join("ws")
    }

    fn file(self, path: &str, content: &str) -> Self {
        let full = self.workspace().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, content).unwrap();
        self
    }

    fn link(self, path: &str, target: impl AsRef<Path>) -> Self {
        let full = self.workspace().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        symlink(target, full).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    fn allow_missing(mut self) -> Self {
        self.allow_missing = true;
        self
    }

    fn expand(&self, template: &str) -> Result<ExpandedKey, KeyError> {
        let workspace = self.workspace();
        fs::create_dir_all(&workspace).unwrap();
        let context = KeyContext {
            workspace: &workspace,
            env: &self.env,
            now: UNIX_EPOCH + Duration::from_millis(1_700_000_000_900),
            allow_missing: self.allow_missing,
            skip: &|path| self.skip.iter().any(|skip| skip == path),
            reach: &Reach::All,
        };
        expand_template(template, &context)
    }

    #[track_caller]
    fn key(&self, template: &str) -> String {
        match self.expand(template) {
            Ok(expanded) => expanded.key,
            Err(error) => panic!("{error}\n{}", error.pointer()),
        }
    }

    #[track_caller]
    fn error(&self, template: &str) -> KeyError {
        match self.expand(template) {
            Ok(expanded) => panic!("{template:?} gave the key {:?}", expanded.key),
            Err(error) => error,
        }
    }

    /// The paths covered by the only hash of a template.
    #[track_caller]
    fn inputs(&self, template: &str) -> Vec<String> {
        let expanded = self.expand(template).unwrap();
        expanded.parts[0]
            .files
            .iter()
            .map(|file| file.path.clone())
            .collect()
    }
}

fn short(content: &[u8]) -> String {
    blake3::hash(content).to_hex()[..32].to_owned()
}

/// The documented combination of several files, computed independently.
fn together(files: &[(&str, &str)]) -> String {
    let mut bytes = Vec::new();
    for (path, content) in files {
        bytes.extend_from_slice(&(path.len() as u64).to_le_bytes());
        bytes.extend_from_slice(path.as_bytes());
        bytes.push(1);
        bytes.extend_from_slice(blake3::hash(content.as_bytes()).as_bytes());
    }
    short(&bytes)
}

#[test]
fn plain_text_is_its_own_key() {
    assert_eq!(Bench::new().key("m2-v1"), "m2-v1");
}

#[test]
fn keys_are_trimmed_and_backslashes_become_slashes() {
    assert_eq!(Bench::new().key(" \n feature\\x \t\n"), "feature/x");
}

#[test]
fn a_lone_brace_or_dollar_is_text() {
    assert_eq!(Bench::new().key("a{b}$c${d}"), "a{b}$c${d}");
}
